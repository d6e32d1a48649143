/* SPDX-License-Identifier: MIT
 *
 * natten_mps.h as this package needs it. The functions below are exported with
 * uintptr_t where the header has pointers to data, so that the addresses of
 * callers are numbers to Go from the first instruction on; cgo would take the
 * header's own declarations of them for a contradiction.
 */
#define natten_mps_attention natten_mps_attention_of_header
#define natten_mps_plan_source natten_mps_plan_source_of_header
#include "natten_mps.h"
#undef natten_mps_attention
#undef natten_mps_plan_source
