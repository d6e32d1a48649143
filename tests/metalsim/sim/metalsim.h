/* SPDX-License-Identifier: MIT
 *
 * metalsim.h - controls the simulated Metal from a test.
 *
 * libmetalsim.so exports the C symbols that metalrt looks up on a Mac, those of
 * libobjc, Metal, libdispatch and torch's MPS streams, and the functions below,
 * which do not exist on a Mac. Handles are Objective-C objects as integers. Text
 * is copied into the caller's buffer, truncated to n bytes including the final
 * zero, and its full length is returned.
 *
 * Unless schedule=eager, encoded work runs when somebody waits for it, in the
 * order of its queue, so that a missing wait shows as stale data.
 */
#ifndef METALSIM_H
#define METALSIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- settings, findings, counters ---- */

/* metalsim_set changes a setting and returns 0, or -1 with the reason in err.
 * At load, settings are read from environment variables METALSIM_<NAME>:
 *   mode      checked, fast, fastmath, fuzz or coverage
 *   order     ascending, descending or shuffled (with seed)
 *   workers   cores that the fast modes use
 *   schedule  lazy, eager, or random: work begins before anybody waits, and commands of
 *             several queues are interleaved in an order that seed determines; a buffer
 *             that two queues use with no wait in between is a finding
 *   max_threads, max_threads_for   limit of pipelines (whose name contains this)
 *   page_size that newBufferWithBytesNoCopy: requires; 0 is this machine's
 *   family    Apple GPU family, 7 to 10;  name  of the device
 *   gpus      number of GPUs; all but the last, which has family and name, are of
 *             another vendor;  torch_gpu  the one that torch uses, from 1; 0 is the last
 *   wrap_devices   1: each request for a device returns another object with its
 *             registryID, as with Metal's debug layer
 *   miscompile     FROM=>TO: the compiler reads FROM in a source as TO;  miscompile_for
 *             only in sources that contain this, such as a kernel's name
 *   width     threadExecutionWidth that pipelines report (kernels always run 32 wide)
 *   torch     2.8, 2.9 or 2.10 and later: hides what that version lacks
 *   dispatch_type  of torch's encoder: serial or concurrent
 *   hide      a comma-separated list of symbols, classes, CLASS.SELECTOR, aoti, streams
 *   fail      a comma-separated list of WHAT or WHAT@N (only the N-th time); WHAT is device
 *             (MTLCreateSystemDefaultDevice), devices (MTLCopyAllDevices), library, function,
 *             pipeline, silent (failures of the compiler then have no NSError), buffer,
 *             contents (nil for a buffer), wrap, queue, command_buffer, encoder, or a failure
 *             of the GPU: gpu (an address), gpu_memory, gpu_timeout, gpu_internal,
 *             gpu_revoked, gpu_permission or gpu_removed
 *   abort     1 ends the process at the first finding
 *   record    folder to which each dispatch is written, for gpu/replay.py
 *   report    file to write metalsim_report to when the process ends
 *   mslc      path of the kernel compiler; default: next to the library */
int metalsim_set(const char* name, const char* value, char* err, size_t n);

/* metalsim_findings lists the faults found so far, one per line. */
size_t metalsim_findings(char* text, size_t n);
size_t metalsim_finding_count(void);
void metalsim_clear(void); /* forgets findings and zeroes the counters */

/* metalsim_report returns findings, live objects by class, work for which nobody
 * waited, and counters. */
size_t metalsim_report(char* text, size_t n);

/* metalsim_stat returns a counter: dispatches, command_buffers, commits, waits,
 * encoders, buffers, wrapped, fills, writes, copies, libraries, compiled,
 * pipelines, sends, accesses, threads, barriers, simd_ops, device_read,
 * device_written, constant_read, threadgroup_read, threadgroup_written; the
 * last six in bytes and only in mode checked. UINT64_MAX: no such name. */
uint64_t metalsim_stat(const char* name);

/* metalsim_unfinished counts the streams with uncommitted work and the committed
 * command buffers that have not run. */
uint64_t metalsim_unfinished(void);

/* metalsim_live counts objects of a class; NULL: of all classes. */
uint64_t metalsim_live(const char* class_name);

/* ---- memory ---- */

/* metalsim_register makes host memory an MTLBuffer, like torch's tensors. The same
 * range gives the same handle; a range that overlaps others invalidates them. 0: the
 * length is 0. The memory must outlive the work that uses it. */
uint64_t metalsim_register(void* memory, size_t length);
void metalsim_unregister(void* memory);

/* metalsim_allocate returns a buffer like torch's allocator. It is private, so the host
 * faults if it accesses the memory (metalsim_address). The buffer that was freed last is
 * returned first, even if the GPU still has work with it. 0: the length is 0. */
uint64_t metalsim_allocate(size_t length);
void metalsim_free(uint64_t buffer);
void* metalsim_address(uint64_t buffer);

/* metalsim_undefined marks a buffer as never written: reading it before writing is a
 * finding. */
void metalsim_undefined(uint64_t buffer);

/* ---- torch's side of the streams ---- */

/* Streams are numbered 0 (the default) to 31. Each thread has a current stream. */
void metalsim_stream_use(int stream);
int metalsim_stream_current(void);
void metalsim_stream_synchronize(int stream);

/* Operations of torch between our launches, encoded on the stream in order. */
void metalsim_stream_fill(int stream, uint64_t buffer, size_t offset, size_t length, uint8_t value);
void metalsim_stream_write(int stream, uint64_t buffer, size_t offset, const void* from,
                           size_t length);
/* metalsim_stream_read waits for the bytes, like a copy to the host. */
void metalsim_stream_read(int stream, uint64_t buffer, size_t offset, void* to, size_t length);
void metalsim_stream_copy(int stream, uint64_t to, size_t to_offset, uint64_t from,
                          size_t from_offset, size_t length);

/* ---- torch.mps.compile_shader ---- */

/* One argument of metalsim_shader_launch: a buffer at an offset or, if buffer is 0,
 * `length` bytes. */
typedef struct {
  uint64_t buffer, offset;
  const void* bytes;
  uint64_t length;
} metalsim_argument;

/* metalsim_shader compiles a source; 0 on failure, with the reason in err. */
uint64_t metalsim_shader(const char* source, char* err, size_t n);
void metalsim_shader_release(uint64_t shader);
/* metalsim_shader_threads is maxTotalThreadsPerThreadgroup; 0: no such kernel. */
uint64_t metalsim_shader_threads(uint64_t shader, const char* kernel);
/* metalsim_shader_launch encodes a launch on the current stream; threads is the size of
 * the grid. Returns 0, or -1 with the reason in err. */
int metalsim_shader_launch(uint64_t shader, const char* kernel, const metalsim_argument* arguments,
                           size_t count, const uint64_t threads[3], const uint64_t group[3],
                           char* err, size_t n);

/* The part of an at::Tensor that aoti_torch_mps_set_arg_tensor reads. */
typedef struct {
  uint64_t buffer, offset;
} metalsim_tensor;

#ifdef __cplusplus
}
#endif

#endif
