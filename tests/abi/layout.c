/* SPDX-License-Identifier: MIT
 *
 * Sizes, offsets and numbers of ABI version 2, written independently of the
 * header. Compiled, never run. A struct may grow at its end: its size may then
 * be larger, and the new fields get their own rows with the version that added
 * them.
 */
#include <stddef.h>

#include "natten_mps.h"

/* An array of negative size stops the compiler. */
#define HOLDS(name, condition) typedef char name[(condition) ? 1 : -1]
#define SIZE(type, bytes) HOLDS(size_of_##type, sizeof(type) >= (bytes))
#define FROZEN(type, bytes) HOLDS(frozen_##type, sizeof(type) == (bytes))
#define FIELD(type, field, at, bytes)                              \
  HOLDS(place_of_##type##_##field, offsetof(type, field) == (at)); \
  HOLDS(bytes_of_##type##_##field, sizeof(((type*)0)->field) == (bytes))
#define VALUE(name, number) HOLDS(value_of_##name, (name) == (number))

VALUE(NATTEN_MPS_OK, 0);
VALUE(NATTEN_MPS_INVALID_ARGUMENT, 1);
VALUE(NATTEN_MPS_UNSUPPORTED, 2);
VALUE(NATTEN_MPS_BAD_HANDLE, 3);
VALUE(NATTEN_MPS_OUT_OF_MEMORY, 4);
VALUE(NATTEN_MPS_DEVICE_ERROR, 5);
VALUE(NATTEN_MPS_INTERNAL, 6);
VALUE(NATTEN_MPS_INTERRUPTED, 7);

VALUE(NATTEN_MPS_FLOAT32, 1);
VALUE(NATTEN_MPS_FLOAT16, 2);
VALUE(NATTEN_MPS_BFLOAT16, 3);
VALUE(NATTEN_MPS_FLOAT64, 4);

VALUE(NATTEN_MPS_ATTN_FORWARD, 1);
VALUE(NATTEN_MPS_ATTN_BACKWARD, 2);
VALUE(NATTEN_MPS_QK_FORWARD, 3);
VALUE(NATTEN_MPS_QK_BACKWARD, 4);
VALUE(NATTEN_MPS_AV_FORWARD, 5);
VALUE(NATTEN_MPS_AV_BACKWARD, 6);

VALUE(NATTEN_MPS_HOST, 0);
VALUE(NATTEN_MPS_METAL, 1);

VALUE(NATTEN_MPS_SCALE, 1);
VALUE(NATTEN_MPS_RPB, 2);
VALUE(NATTEN_MPS_RAGGED, 4);
VALUE(NATTEN_MPS_MASK_FIRST, 8);

SIZE(natten_mps_error, 2048);
FIELD(natten_mps_error, size, 0, 8);
FIELD(natten_mps_error, status, 8, 4);
FIELD(natten_mps_error, message, 16, 2032);

FROZEN(natten_mps_axis, 48); /* part of natten_mps_problem */
FIELD(natten_mps_axis, length, 0, 8);
FIELD(natten_mps_axis, kernel, 8, 8);
FIELD(natten_mps_axis, dilation, 16, 8);
FIELD(natten_mps_axis, stride, 24, 8);
FIELD(natten_mps_axis, query_step, 32, 8);
FIELD(natten_mps_axis, causal, 40, 4);

FROZEN(natten_mps_range, 32); /* part of natten_mps_problem */
FIELD(natten_mps_range, query_first, 0, 8);
FIELD(natten_mps_range, query_count, 8, 8);
FIELD(natten_mps_range, key_first, 16, 8);
FIELD(natten_mps_range, key_count, 24, 8);

SIZE(natten_mps_problem, 328); /* 232 in version 1 */
FIELD(natten_mps_problem, size, 0, 8);
FIELD(natten_mps_problem, op, 8, 4);
FIELD(natten_mps_problem, dtype, 12, 4);
FIELD(natten_mps_problem, rank, 16, 4);
FIELD(natten_mps_problem, flags, 20, 4);
FIELD(natten_mps_problem, memory, 24, 4);
FIELD(natten_mps_problem, reserved, 28, 4);
FIELD(natten_mps_problem, batch, 32, 8);
FIELD(natten_mps_problem, heads, 40, 8);
FIELD(natten_mps_problem, kv_heads, 48, 8);
FIELD(natten_mps_problem, head_dim, 56, 8);
FIELD(natten_mps_problem, value_dim, 64, 8);
FIELD(natten_mps_problem, extra, 72, 8);
FIELD(natten_mps_problem, scale, 80, 8);
FIELD(natten_mps_problem, axes, 88, 144);
FIELD(natten_mps_problem, ranges, 232, 96); /* version 2 */

FROZEN(natten_mps_tensor, 64); /* part of natten_mps_args */
FIELD(natten_mps_tensor, data, 0, 8);
FIELD(natten_mps_tensor, offset, 8, 8);
FIELD(natten_mps_tensor, strides, 16, 48);

SIZE(natten_mps_args, 1192); /* 1176 in version 1 */
FIELD(natten_mps_args, size, 0, 8);
FIELD(natten_mps_args, num_threads, 8, 4);
FIELD(natten_mps_args, sizes, 16, 8);
FIELD(natten_mps_args, query, 24, 64);
FIELD(natten_mps_args, key, 88, 64);
FIELD(natten_mps_args, value, 152, 64);
FIELD(natten_mps_args, attn, 216, 64);
FIELD(natten_mps_args, rpb, 280, 64);
FIELD(natten_mps_args, extra_key, 344, 64);
FIELD(natten_mps_args, extra_value, 408, 64);
FIELD(natten_mps_args, out, 472, 64);
FIELD(natten_mps_args, lse, 536, 64);
FIELD(natten_mps_args, d_out, 600, 64);
FIELD(natten_mps_args, d_lse, 664, 64);
FIELD(natten_mps_args, d_attn, 728, 64);
FIELD(natten_mps_args, d_query, 792, 64);
FIELD(natten_mps_args, d_key, 856, 64);
FIELD(natten_mps_args, d_value, 920, 64);
FIELD(natten_mps_args, d_rpb, 984, 64);
FIELD(natten_mps_args, d_extra_key, 1048, 64);
FIELD(natten_mps_args, d_extra_value, 1112, 64);
FIELD(natten_mps_args, interrupt, 1176, 8); /* version 2 */
FIELD(natten_mps_args, interrupt_context, 1184, 8);

SIZE(natten_mps_backend_info, 1032);
FIELD(natten_mps_backend_info, size, 0, 8);
FIELD(natten_mps_backend_info, available, 8, 4);
FIELD(natten_mps_backend_info, name, 16, 16);
FIELD(natten_mps_backend_info, details, 32, 1000);

SIZE(natten_mps_plan_info, 256);
FIELD(natten_mps_plan_info, size, 0, 8);
FIELD(natten_mps_plan_info, scratch_bytes, 8, 8);
FIELD(natten_mps_plan_info, backend, 16, 16);
FIELD(natten_mps_plan_info, variant, 32, 224);

SIZE(natten_mps_window_info, 40);
FIELD(natten_mps_window_info, size, 0, 8);
FIELD(natten_mps_window_info, first, 8, 8);
FIELD(natten_mps_window_info, count, 16, 8);
FIELD(natten_mps_window_info, step, 24, 8);
FIELD(natten_mps_window_info, slot, 32, 8);

VALUE(NATTEN_MPS_STREAM_OWN, 1);
VALUE(NATTEN_MPS_STREAM_TORCH, 2);
VALUE(NATTEN_MPS_STREAM_TORCH_QUEUE, 3);

SIZE(natten_mps_stream_options, 24);
FIELD(natten_mps_stream_options, size, 0, 8);
FIELD(natten_mps_stream_options, stream, 8, 4);
FIELD(natten_mps_stream_options, reserved, 12, 4);
FIELD(natten_mps_stream_options, torch_library, 16, 8);

VALUE(NATTEN_MPS_BIND_TENSOR, 1);
VALUE(NATTEN_MPS_BIND_BYTES, 2);
VALUE(NATTEN_MPS_BIND_SCRATCH, 3);
VALUE(NATTEN_MPS_MAX_BINDINGS, 31);

FROZEN(natten_mps_binding, 24); /* part of natten_mps_dispatch */
FIELD(natten_mps_binding, kind, 0, 4);
FIELD(natten_mps_binding, index, 4, 4);
FIELD(natten_mps_binding, offset, 8, 8);
FIELD(natten_mps_binding, length, 16, 8);

SIZE(natten_mps_dispatch, 1088);
FIELD(natten_mps_dispatch, size, 0, 8);
FIELD(natten_mps_dispatch, bytes, 8, 8);
FIELD(natten_mps_dispatch, bytes_capacity, 16, 8);
FIELD(natten_mps_dispatch, bytes_length, 24, 8);
FIELD(natten_mps_dispatch, count, 32, 4);
FIELD(natten_mps_dispatch, bindings_count, 36, 4);
FIELD(natten_mps_dispatch, groups, 40, 24);
FIELD(natten_mps_dispatch, threads, 64, 24);
FIELD(natten_mps_dispatch, function, 88, 256);
FIELD(natten_mps_dispatch, bindings, 344, 744);
