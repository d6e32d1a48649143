/* SPDX-License-Identifier: MIT
 *
 * metalsim.h - steering the simulated Metal from a test.
 *
 * libmetalsim.so exports the C symbols that metalrt looks up on a Mac: of
 * libobjc, Metal, libdispatch, and torch's MPS streams. Next to them are the
 * functions below, which a Mac does not have. Handles are Objective-C objects
 * as integers. Text is copied into the caller's buffer, cut to n bytes with the
 * final zero, and its full length is returned.
 *
 * Work that was encoded runs when somebody waits for it, in the order of its
 * queue, unless schedule=eager: so a missing wait shows as stale data.
 */
#ifndef METALSIM_H
#define METALSIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- settings, findings, counters ---- */

/* metalsim_set changes a setting; 0, or -1 with the reason in err. The same
 * names in capitals after METALSIM_ are read from the environment at load:
 *   mode      checked, fast, fastmath, fuzz or coverage
 *   order     ascending, descending or shuffled (with seed)
 *   workers   cores that the fast modes use
 *   schedule  lazy, eager, or random: work begins before anybody waits, and commands of
 *             several queues overlap in an order that seed chooses; a buffer that two
 *             queues use with no wait between is a finding
 *   max_threads, max_threads_for   limit of pipelines (whose name has this in it)
 *   page_size what newBufferWithBytesNoCopy: wants; 0 is this machine's
 *   family    Apple GPU family, 7 to 10;  name  of the device
 *   gpus      how many there are; all but the last, which has family and name, are of
 *             another vendor;  torch_gpu  the one that torch uses, from 1; 0 is the last
 *   wrap_devices   1: each question for a device gives another object of its registryID,
 *             as Metal's debug layer does
 *   miscompile     FROM=>TO: the compiler takes FROM in a source for TO;  miscompile_for
 *             only in sources with this in them, such as a kernel's name
 *   width     threadExecutionWidth of pipelines (kernels run 32 wide all the same)
 *   torch     2.8, 2.9 or 2.10 and later: hides what that version lacks
 *   dispatch_type  of torch's encoder: serial or concurrent
 *   hide      a comma list of symbols, classes, CLASS.SELECTOR, aoti, streams
 *   fail      a comma list of WHAT or WHAT@N (the N-th time only); WHAT is device
 *             (MTLCreateSystemDefaultDevice), devices (MTLCopyAllDevices), library, function,
 *             pipeline, silent (which gives those of the compiler no NSError), buffer, contents
 *             (a buffer's, which are nil), wrap, queue, command_buffer, encoder, or of the GPU:
 *             gpu (an address), gpu_memory, gpu_timeout, gpu_internal, gpu_revoked,
 *             gpu_permission or gpu_removed
 *   abort     1 ends the process at the first finding
 *   record    folder that keeps each dispatch, for gpu/replay.py
 *   report    file to write metalsim_report to when the process ends
 *   mslc      path of the kernel compiler; beside the library without it */
int metalsim_set(const char* name, const char* value, char* err, size_t n);

/* metalsim_findings lists the faults seen so far, one per line. */
size_t metalsim_findings(char* text, size_t n);
size_t metalsim_finding_count(void);
void metalsim_clear(void); /* forgets findings and zeroes the counters */

/* metalsim_report gives findings, live objects by class, work nobody waited
 * for and counters. */
size_t metalsim_report(char* text, size_t n);

/* metalsim_stat gives a counter: dispatches, command_buffers, commits, waits,
 * encoders, buffers, wrapped, fills, writes, copies, libraries, compiled,
 * pipelines, sends, accesses, threads, barriers, simd_ops, device_read,
 * device_written, constant_read, threadgroup_read, threadgroup_written; the
 * last six in bytes and of mode checked only. UINT64_MAX: no such name. */
uint64_t metalsim_stat(const char* name);

/* metalsim_unfinished counts the streams with work that is not committed and the
 * command buffers that are and have not run. */
uint64_t metalsim_unfinished(void);

/* metalsim_live counts objects of a class; NULL: of all. */
uint64_t metalsim_live(const char* class_name);

/* ---- memory ---- */

/* metalsim_register makes host memory an MTLBuffer, as torch's tensors are.
 * The same stretch gives the same handle; a stretch that overlaps others ends
 * them. 0: no length. The memory outlives the work that uses it. */
uint64_t metalsim_register(void* memory, size_t length);
void metalsim_unregister(void* memory);

/* metalsim_allocate gives a buffer as torch's allocator does: private, so that the host
 * faults where it touches the memory (metalsim_address) itself; and one that was freed
 * last is handed out first, whatever the GPU has still to do with it. 0: no length. */
uint64_t metalsim_allocate(size_t length);
void metalsim_free(uint64_t buffer);
void* metalsim_address(uint64_t buffer);

/* metalsim_undefined says that nothing has been stored in a buffer yet: reading
 * it before writing is a finding. */
void metalsim_undefined(uint64_t buffer);

/* ---- torch's side of the streams ---- */

/* Streams are 0, the default, to 31. The current one belongs to the thread. */
void metalsim_stream_use(int stream);
int metalsim_stream_current(void);
void metalsim_stream_synchronize(int stream);

/* What a torch op does between our launches: encoded on the stream, in order. */
void metalsim_stream_fill(int stream, uint64_t buffer, size_t offset, size_t length, uint8_t value);
void metalsim_stream_write(int stream, uint64_t buffer, size_t offset, const void* from,
                           size_t length);
/* metalsim_stream_read waits for the bytes, as a copy to the host does. */
void metalsim_stream_read(int stream, uint64_t buffer, size_t offset, void* to, size_t length);
void metalsim_stream_copy(int stream, uint64_t to, size_t to_offset, uint64_t from,
                          size_t from_offset, size_t length);

/* ---- torch.mps.compile_shader ---- */

/* One argument of metalsim_shader_launch: buffer at offset, or, where buffer is
 * 0, length bytes. */
typedef struct {
  uint64_t buffer, offset;
  const void* bytes;
  uint64_t length;
} metalsim_argument;

/* metalsim_shader compiles; 0 with the reason in err. */
uint64_t metalsim_shader(const char* source, char* err, size_t n);
void metalsim_shader_release(uint64_t shader);
/* metalsim_shader_threads is maxTotalThreadsPerThreadgroup; 0: no such kernel. */
uint64_t metalsim_shader_threads(uint64_t shader, const char* kernel);
/* metalsim_shader_launch encodes on the current stream; threads is the whole
 * grid. 0, or -1 with the reason in err. */
int metalsim_shader_launch(uint64_t shader, const char* kernel, const metalsim_argument* arguments,
                           size_t count, const uint64_t threads[3], const uint64_t group[3],
                           char* err, size_t n);

/* An at::Tensor as far as aoti_torch_mps_set_arg_tensor looks at one. */
typedef struct {
  uint64_t buffer, offset;
} metalsim_tensor;

#ifdef __cplusplus
}
#endif

#endif
