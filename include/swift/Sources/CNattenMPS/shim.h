/* SPDX-License-Identifier: MIT */
#include <natten_mps.h>
