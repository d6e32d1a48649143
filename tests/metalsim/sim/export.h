// SPDX-License-Identifier: MIT
#ifndef METALSIM_EXPORT_H
#define METALSIM_EXPORT_H

#define API extern "C" __attribute__((visibility("default")))

#endif
