/* SPDX-License-Identifier: MIT
 *
 * Includes natten_mps.h without the declarations of the functions below. This
 * package exports these with uintptr_t in place of data pointers, so that Go
 * never treats a caller's address as a pointer. cgo would reject the header's
 * own declarations as conflicting.
 */
#define natten_mps_attention natten_mps_attention_of_header
#define natten_mps_plan_source natten_mps_plan_source_of_header
#include "natten_mps.h"
#undef natten_mps_attention
#undef natten_mps_plan_source
