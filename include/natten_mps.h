/* SPDX-License-Identifier: MIT
 *
 * natten_mps.h - neighborhood attention on the CPU and on Apple GPUs: the
 * authoritative description of the library's C interface.
 *
 * WHAT IT COMPUTES
 *
 * In neighborhood attention (Hassani et al., "Neighborhood Attention
 * Transformer", CVPR 2023) each query of a 1-D, 2-D or 3-D token layout attends
 * to the keys in a window around it. With S = scale * Q.K^T + rpb over the
 * window only and P = softmax(S), the fused operation is O = P.V and
 * lse = log(sum(exp(S))), natural logarithm. The split operations compute S
 * ("qk") and P.V ("av"). Every operation has a backward pass.
 *
 * HOW IT IS USED
 *
 * natten_mps_attention() is a one-off dense forward pass. For the rest describe
 * the problem (natten_mps_problem), make a plan (natten_mps_plan_create), run
 * it as often as needed (natten_mps_run), then destroy it. The plan makes every
 * decision that does not depend on the data; running it makes none.
 *
 * OWNERSHIP  The library keeps no pointer that the caller passed after a
 * function returns, and never allocates a tensor. Handles are integers.
 * THREADS  Any thread may call any function, and several may run one plan.
 * ERRORS  Functions return NATTEN_MPS_OK (0) or another natten_mps_status, and
 * write what was given and what is allowed into the caller's natten_mps_error,
 * unless `error` is NULL. Invalid input is always reported this way, but the
 * library cannot check that a pointer refers to as much memory as the shapes
 * and strides imply. Where the CPU faults at a tensor or struct, because memory
 * is missing or read-only, the function returns NATTEN_MPS_INVALID_ARGUMENT as
 * well, but may have written a part of its outputs.
 * VERSIONS  Structs begin with their size in bytes, set by the caller
 * (`s.size = sizeof s`), and only grow at the end: fields that a shorter, older
 * struct lacks read as zero; a longer, newer one is accepted if every field
 * unknown to this library is zero. Enumerators are never renumbered. A program
 * compiled with NATTEN_MPS_ABI_VERSION a works with a library for which
 * natten_mps_abi_minimum() <= a <= natten_mps_abi_version().
 * INFINITY  A key whose logit is -infinity (by its bias, for example) has
 * weight 0, and the gradient of its logit is 0. A row with only such logits is
 * treated as padding: out and d_query are 0, lse is -infinity, and it
 * contributes to no gradient; the backward pass recognizes it by its lse. Qk
 * writes such logits unchanged.
 * NAN  NaN or +infinity among the logits of a row makes its out and lse NaN. A
 * NaN is never lost: results computed from it are NaN or infinite. A value is
 * multiplied by its weight even if that is 0, so what is not finite in a key or
 * value reaches the queries that see it, and may reach others of the same
 * sample and key/value head; gradients likewise. It reaches no other sample or
 * head (rpb: all samples of its head). Elements that nothing sees, such as
 * padding, reach nothing.
 *
 * IN A FOREIGN PROCESS
 *
 * The library contains the runtime of the Go language, which a process keeps
 * for good: dlclose does not unload it, and if the main thread calls
 * pthread_exit, the process does not end. exit() ends the process at any time,
 * even while runs are in progress.
 *
 * THREADS  The runtime starts a few threads when the library is loaded, and
 * runs start others, up to the number of processors; threads are kept for later
 * work. A run uses no more threads than the process has processors, whatever
 * num_threads says. Threads that call need 64 KiB of stack. If a limit
 * (RLIMIT_NPROC, a cgroup, a filter of system calls) refuses the first threads
 * that a run requests, runs use only the calling thread until threads are
 * granted. If it refuses threads while the library is loaded, or after some
 * were granted, the runtime ends the process with a message.
 * SIGNALS  Loading installs handlers, which forward signals that are not the
 * runtime's to the handlers installed before. Handlers installed later must
 * have SA_ONSTACK (sigaction(2)): without it they may run on a stack of the
 * runtime and overwrite memory. The library keeps 40 KiB of this stack free
 * while it computes, so that handlers of profilers and timers that lack the
 * flag do no harm, except in a thread's first call and in the runtime's own
 * work. SIGPIPE, SIGINT and the like keep their effect. A thread's first call
 * unblocks SIGCHLD, SIGPROF, SIGURG and the signals of faults in this thread,
 * and gives it an alternate signal stack unless it has one.
 * ARITHMETIC  Results do not depend on the caller's rounding mode, flushing of
 * subnormal numbers, unmasked exceptions or locale, and the floating-point
 * exception flags do not change.
 * FORK  A child made by fork() without exec() lacks the library's threads: it
 * must not call it.
 * MEMORY  The temporary memory of a run is kept for later runs of any plan, and
 * released after some minutes without runs. If the system refuses memory
 * (RLIMIT_AS, RLIMIT_DATA, strict overcommit), functions return
 * NATTEN_MPS_OUT_OF_MEMORY and outputs are undefined; functions work again once
 * there is memory. They also return it, before they create anything, if the
 * system would not grant 128 MiB of address space and 16 MiB of data. From
 * these the runtime takes small objects, such as plans, and stacks of threads.
 * If it is refused memory nevertheless, because other threads used it up at
 * that moment, it ends the process with a message. No function can detect that
 * pages are refused when they are written (a cgroup's limit, overcommitted
 * memory).
 * NEVER  The library sets no processor affinity, priority, memory policy,
 * limit, timer or working directory, opens no network connection, starts no
 * program, and writes no file except, with a GPU, the results of checking its
 * kernels, in the folder NATTEN_MPS_CACHE. On Linux it calls mincore(2) and
 * madvise(2) for the pages of large outputs. It reads the environment variables
 * NATTEN_DISABLE_ISA, NATTEN_MPS_VERIFY, NATTEN_MPS_CACHE and those of the Go
 * runtime, such as GOMAXPROCS, GOMEMLIMIT and GODEBUG. It opens no library
 * except Apple's, on macOS, and the one that natten_mps_stream_set names.
 */
#ifndef NATTEN_MPS_H
#define NATTEN_MPS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** ABI version of this header, and the oldest that it stays compatible with. */
#define NATTEN_MPS_ABI_VERSION 2
#define NATTEN_MPS_ABI_MINIMUM 1

#if defined(_WIN32)
#define NATTEN_MPS_API
#else
#define NATTEN_MPS_API __attribute__((visibility("default")))
#endif

/* The library's own compiler cannot spell `const` in exported signatures. */
#ifdef NATTEN_MPS_CGO
#define NATTEN_MPS_CONST
#else
#define NATTEN_MPS_CONST const
#endif

/* ------------------------------------------------------------- status -- */

/** The result of a function. */
typedef enum natten_mps_status {
  NATTEN_MPS_OK = 0,
  NATTEN_MPS_INVALID_ARGUMENT = 1, /**< not allowed; nothing was computed */
  /** A valid problem that the requested backend, or every backend, cannot
   *  compute. The message lists each backend's reasons. */
  NATTEN_MPS_UNSUPPORTED = 2,
  NATTEN_MPS_BAD_HANDLE = 3,    /**< never issued, or destroyed */
  NATTEN_MPS_OUT_OF_MEMORY = 4, /**< outputs are undefined */
  NATTEN_MPS_DEVICE_ERROR = 5,  /**< GPU or driver failed; outputs likewise */
  NATTEN_MPS_INTERNAL = 6,      /**< a defect; please report the message */
  NATTEN_MPS_INTERRUPTED = 7    /**< by natten_mps_args.interrupt; likewise */
} natten_mps_status;

/** The caller's struct for the description of a failure. On success `status` is
 *  NATTEN_MPS_OK and `message` is empty. A message that does not fit is
 *  truncated. If `size` is invalid, functions write nothing here and return
 *  NATTEN_MPS_INVALID_ARGUMENT. */
typedef struct natten_mps_error {
  uint64_t size;  /**< sizeof(natten_mps_error) */
  int32_t status; /**< natten_mps_status */
  int32_t reserved;
  char message[2032]; /**< UTF-8, always NUL-terminated */
} natten_mps_error;

/* ------------------------------------------------------------ problem -- */

/** Element type of all tensors of a problem. Sums are taken in float32 for
 *  float16, bfloat16 and float32, in float64 for float64. */
typedef enum natten_mps_dtype {
  NATTEN_MPS_FLOAT32 = 1,
  NATTEN_MPS_FLOAT16 = 2,
  NATTEN_MPS_BFLOAT16 = 3,
  NATTEN_MPS_FLOAT64 = 4
} natten_mps_dtype;

/** Operations, and the tensors of natten_mps_args that each reads (R), reads if
 *  given (r), writes (W) and writes if given (w). A tensor whose `data` is NULL
 *  is not given, and a gradient that is not given is not computed. T: `rpb`
 *  with NATTEN_MPS_RPB; `extra_key`, `extra_value` with extra > 0. */
typedef enum natten_mps_op {
  NATTEN_MPS_ATTN_FORWARD = 1, /**< R query key value T; W out; w lse */
  /** R query key value T out lse d_out; r d_lse;
   *  w d_query d_key d_value d_rpb d_extra_key d_extra_value */
  NATTEN_MPS_ATTN_BACKWARD = 2,
  NATTEN_MPS_QK_FORWARD = 3, /**< R query key T; W attn */
  /** R query key T d_attn; w d_query d_key d_rpb d_extra_key */
  NATTEN_MPS_QK_BACKWARD = 4,
  NATTEN_MPS_AV_FORWARD = 5, /**< R attn value T; W out */
  /** R attn value T d_out; w d_attn d_value d_extra_value */
  NATTEN_MPS_AV_BACKWARD = 6
} natten_mps_op;

/** The kind of memory that holds the tensors. */
typedef enum natten_mps_memory {
  NATTEN_MPS_HOST = 0, /**< `data` is an address */
  NATTEN_MPS_METAL = 1 /**< `data` is an id<MTLBuffer> */
} natten_mps_memory;

/** Flags of a problem. */
enum {
  /** Use the field `scale`. Without it scale is 1/sqrt(head_dim) for the fused
   *  and 1 for the split operations. */
  NATTEN_MPS_SCALE = 1,
  NATTEN_MPS_RPB = 2, /**< add a relative position bias to scaled logits */
  /** Each sample has its own lengths (natten_mps_args.sizes); positions beyond
   *  them are padding: never seen, outputs and gradients 0, lse -infinity. */
  NATTEN_MPS_RAGGED = 4,
  /** Split operations on causal axes: masked window slots come first and the
   *  query's own key is the last slot, as in natten-mps 0.3. Without it visible
   *  keys come first, as in NATTEN 0.17. */
  NATTEN_MPS_MASK_FIRST = 8
};

/** One axis of the token layout, and the window rule along it.
 *
 * Positions i with equal i mod dilation form a dilation group; g = i / dilation
 * is the position inside it and G the group's length. A query sees keys of its
 * own group only, and along several axes the product of the axes' windows.
 *   not causal: s .. s+kernel-1 with s = clamp(l - kernel/2, 0, G - kernel)
 *   causal:     max(l - kernel + 1, 0) .. g
 * where l, the leader, is g if stride is 1, and else the member
 * min((g/stride)*stride + stride/2, G-1), causal
 * min((g/stride)*stride + stride-1, G-1), of the query's stride group, as in
 * NATTEN 0.20 (generalized neighborhood attention).
 *
 * query_step, which natten-mps 0.3 calls stride, is a different parameter: only
 * the queries at 0, query_step, 2*query_step, ... are computed, and outputs
 * have ceil(length / query_step) positions.
 *
 * Required: 1 <= kernel, kernel * dilation <= length, stride <= kernel. */
typedef struct natten_mps_axis {
  int64_t length;     /**< number of keys */
  int64_t kernel;     /**< keys in a window, odd or even */
  int64_t dilation;   /**< 0 means 1 */
  int64_t stride;     /**< 0 means 1 */
  int64_t query_step; /**< 0 means 1 */
  int32_t causal;     /**< 0 or 1 */
  int32_t reserved;
} natten_mps_axis;

/** The part of an axis that is computed and held in memory: for streams, for
 *  inputs in pieces, and for processes that share an axis. Positions are those
 *  of the whole axis, whose `length` does not change: windows, dilation groups
 *  and masks do not depend on ranges. All zero is the whole axis. Since ABI
 *  version 2; layout frozen.
 *
 *  query, d_query and, in steps of query_step, out, lse, attn and their
 *  gradients have the positions of the query range; key, value, d_key and
 *  d_value those of the key range. d_key, d_value, d_rpb, d_extra_key and
 *  d_extra_value are the contributions of the queries of the range. If a query
 *  of the range sees a key that is not held, creating the plan or, with
 *  NATTEN_MPS_RAGGED, running it returns NATTEN_MPS_INVALID_ARGUMENT.
 *  natten_mps_window_range() computes the keys to hold.
 *
 *  Required: first + count <= length, query_step divides query_first. */
typedef struct natten_mps_range {
  int64_t query_first; /**< position of the first query */
  int64_t query_count; /**< positions; 0 means to the end of the axis */
  int64_t key_first;   /**< position of the first key held */
  int64_t key_count;   /**< positions; 0 means to the end of the axis */
} natten_mps_range;

/** A problem. Zero it, set `size`, then set every required field. */
typedef struct natten_mps_problem {
  uint64_t size;  /**< sizeof(natten_mps_problem) */
  int32_t op;     /**< natten_mps_op */
  int32_t dtype;  /**< natten_mps_dtype */
  int32_t rank;   /**< 1, 2 or 3 */
  int32_t flags;  /**< NATTEN_MPS_SCALE | ... */
  int32_t memory; /**< natten_mps_memory */
  int32_t reserved;
  int64_t batch;     /**< >= 0; with 0 nothing is computed */
  int64_t heads;     /**< of the queries, >= 1 */
  int64_t kv_heads;  /**< of keys and values; divides heads; query head h uses
                          h / (heads / kv_heads). 0 means heads */
  int64_t head_dim;  /**< of queries and keys, 1 ... 4096; not used by av */
  int64_t value_dim; /**< of values and outputs; 0: head_dim; not used by qk */
  int64_t extra;     /**< additional tokens that every query sees, in the same
                          softmax; the last slots of attn */
  double scale;      /**< finite; with NATTEN_MPS_SCALE */
  natten_mps_axis axes[3];    /**< the first `rank`, the last of them fastest */
  natten_mps_range ranges[3]; /**< of `axes`; since ABI version 2 */
} natten_mps_problem;

/* ------------------------------------------------------------ tensors -- */

/** A tensor: memory, a byte offset into it and strides counted in elements, of
 *  which the leading ones are used, in the order given at natten_mps_args. The
 *  last dimension must be dense (stride 1 unless its size is 1). Other strides
 *  are arbitrary, so heads may come first or last; no tensor is copied. The
 *  layout is frozen. */
typedef struct natten_mps_tensor {
  void* data;
  int64_t offset;
  int64_t strides[6];
} natten_mps_tensor;

/** The tensors of one run. Zero it, set `size`, then set the tensors that the
 *  operation uses (see natten_mps_op). Shapes, with the problem's rank axes:
 *
 *    query, d_query              [batch, queries..., heads, head_dim]
 *    key, d_key                  [batch, keys..., kv_heads, head_dim]
 *    value, d_value              [batch, keys..., kv_heads, value_dim]
 *    out, d_out                  [batch, outputs..., heads, value_dim]
 *    lse, d_lse                  [batch, outputs..., heads]
 *    attn, d_attn                [batch, outputs..., heads, slots]
 *    rpb, d_rpb                  [heads, 2 * kernel - 1 ...]
 *    extra_key, d_extra_key      [batch, extra, kv_heads, head_dim]
 *    extra_value, d_extra_value  [batch, extra, kv_heads, value_dim]
 *
 *  `queries` and `keys` are `length` per axis, or those of its range, `outputs`
 *  is ceil(queries / query_step). Of query only positions at multiples of
 *  query_step are read; gradients at the others are written as 0. `slots` is
 *  the product of the kernels, row-major with the last axis fastest and keys
 *  ascending, plus extra. Masked slots are -infinity in attn written by qk,
 *  ignored in attn read by av, and 0 in d_attn. Along each axis the index into
 *  rpb is k - q + kernel - 1 with the positions k of the key and q of the query
 *  within their dilation group. All tensors have the problem's dtype, except
 *  that lse and d_lse are float64 if it is and float32 otherwise. Outputs need
 *  not be initialized and must not overlap one another or any input; only the
 *  same first element is noticed. */
typedef struct natten_mps_args {
  uint64_t size;       /**< sizeof(natten_mps_args) */
  int32_t num_threads; /**< 0: as natten_mps_set_num_threads says */
  int32_t reserved;
  NATTEN_MPS_CONST int64_t* sizes; /**< NATTEN_MPS_RAGGED: [batch][rank]; for
                       every axis kernel * dilation <= size <= length */
  natten_mps_tensor query, key, value, attn, rpb, extra_key, extra_value;
  natten_mps_tensor out, lse, d_out, d_lse, d_attn;
  natten_mps_tensor d_query, d_key, d_value, d_rpb, d_extra_key, d_extra_value;
  /** NULL, or a function that the calling thread calls about every 0.1 s while
   *  it computes on the CPU, in the default floating-point environment. If it
   *  returns anything but 0, the run ends soon with NATTEN_MPS_INTERRUPTED. It
   *  must return. Since ABI version 2. */
  int32_t (*interrupt)(void* context);
  void* interrupt_context; /**< passed to `interrupt` */
} natten_mps_args;

/* ------------------------------------------------------------ library -- */

/** Version of the library, "major.minor.patch", in static memory. */
NATTEN_MPS_API NATTEN_MPS_CONST char* natten_mps_version(void);

/** ABI version of the library, and the oldest header it still supports. */
NATTEN_MPS_API uint32_t natten_mps_abi_version(void);
NATTEN_MPS_API uint32_t natten_mps_abi_minimum(void);

/** Sets the number of CPU threads, >= 0, for runs whose args do not set it; 0
 *  restores the default, the number of processors. */
NATTEN_MPS_API int32_t natten_mps_set_num_threads(int32_t threads,
                                                  natten_mps_error* error);
NATTEN_MPS_API int32_t natten_mps_get_num_threads(void);

/** A backend of this library. */
typedef struct natten_mps_backend_info {
  uint64_t size;     /**< sizeof(natten_mps_backend_info) */
  int32_t available; /**< 1 if it can run something on this machine */
  int32_t reserved;
  char name[16];      /**< "metal", "native", "reference" */
  char details[1000]; /**< device or instruction set, or why not available */
} natten_mps_backend_info;

/** Describes the backend with this index, from 0, in the order in which they
 *  are tried. If there is none, it returns NATTEN_MPS_INVALID_ARGUMENT. */
NATTEN_MPS_API int32_t natten_mps_backend(int32_t index,
                                          natten_mps_backend_info* info,
                                          natten_mps_error* error);

/* -------------------------------------------------------------- plans -- */

/** Handle of a plan; never 0. */
typedef uint64_t natten_mps_plan;

/** Tells whether `backend` (NULL or "auto": any) can compute the problem:
 *  NATTEN_MPS_OK, NATTEN_MPS_UNSUPPORTED with the reasons, or
 *  NATTEN_MPS_INVALID_ARGUMENT for a problem that is invalid everywhere. */
NATTEN_MPS_API int32_t
natten_mps_supports(NATTEN_MPS_CONST natten_mps_problem* problem,
                    NATTEN_MPS_CONST char* backend,
                    natten_mps_error* error);

/** Makes a plan for `problem` on `backend`: "native" (the CPU engine), "metal",
 *  "reference" (slow, float64, straightforward; for tests), or NULL or "auto":
 *  the first backend that supports it. On success *plan is the handle, on
 *  failure 0. */
NATTEN_MPS_API int32_t
natten_mps_plan_create(NATTEN_MPS_CONST natten_mps_problem* problem,
                       NATTEN_MPS_CONST char* backend,
                       natten_mps_plan* plan,
                       natten_mps_error* error);

/** Decisions made by a plan. */
typedef struct natten_mps_plan_info {
  uint64_t size;         /**< sizeof(natten_mps_plan_info) */
  int64_t scratch_bytes; /**< upper bound, in bytes, of a run's temporary
                              memory, with one thread per processor */
  char backend[16];      /**< the backend's name */
  char variant[224];     /**< the kernels chosen, for reports */
} natten_mps_plan_info;

/** Describes a plan. */
NATTEN_MPS_API int32_t natten_mps_plan_info_get(natten_mps_plan plan,
                                                natten_mps_plan_info* info,
                                                natten_mps_error* error);

/** Runs a plan. With host memory the outputs are complete on return; with Metal
 *  memory see natten_mps_stream. */
NATTEN_MPS_API int32_t natten_mps_run(natten_mps_plan plan,
                                      NATTEN_MPS_CONST natten_mps_args* args,
                                      natten_mps_error* error);

/** Destroys a plan. Runs in progress finish; later calls with this handle
 *  return NATTEN_MPS_BAD_HANDLE. */
NATTEN_MPS_API int32_t natten_mps_plan_destroy(natten_mps_plan plan,
                                               natten_mps_error* error);

/* ------------------------------------------------------ Metal and torch -- */

/** The stream of the process's runs on Metal memory; those on host memory
 *  always use the library's own queue. */
typedef enum natten_mps_stream {
  /** The library's own queue. Outputs are complete on return. The caller must
   *  first wait for other work on the same tensors. */
  NATTEN_MPS_STREAM_OWN = 1,
  /** The calling thread's current torch.mps stream, of torch 2.10 and newer.
   *  Work is encoded there in order, without waiting: tensors may be released
   *  as soon as natten_mps_run returns. */
  NATTEN_MPS_STREAM_TORCH = 2,
  /** The only stream of torch 2.8 and 2.9, likewise. */
  NATTEN_MPS_STREAM_TORCH_QUEUE = 3
} natten_mps_stream;

/** Choice of a stream. */
typedef struct natten_mps_stream_options {
  uint64_t size;    /**< sizeof(natten_mps_stream_options) */
  int32_t stream;   /**< natten_mps_stream */
  int32_t reserved; /**< 0 */
  /** Path of libtorch_cpu, as the process has loaded it; NULL with
   *  NATTEN_MPS_STREAM_OWN. */
  NATTEN_MPS_CONST char* torch_library;
} natten_mps_stream_options;

/** Chooses the stream of later runs; initially it is NATTEN_MPS_STREAM_OWN.
 *  NATTEN_MPS_UNSUPPORTED with the reason if there is no GPU, or if torch
 *  lacks what the stream needs; the choice is then unchanged. */
NATTEN_MPS_API int32_t
natten_mps_stream_set(NATTEN_MPS_CONST natten_mps_stream_options* options,
                      natten_mps_error* error);

/** What a kernel's buffer index is bound to. */
typedef enum natten_mps_binding_kind {
  /** Tensor `index` of natten_mps_args (`query` is 0) at its byte offset. */
  NATTEN_MPS_BIND_TENSOR = 1,
  /** `length` bytes at `offset` of natten_mps_dispatch.bytes. */
  NATTEN_MPS_BIND_BYTES = 2,
  /** Temporary buffer `index` of `length` bytes, shared by all dispatches. */
  NATTEN_MPS_BIND_SCRATCH = 3
} natten_mps_binding_kind;

/** One argument of a kernel. */
typedef struct natten_mps_binding {
  int32_t kind; /**< natten_mps_binding_kind */
  int32_t index;
  int64_t offset;
  int64_t length;
} natten_mps_binding;

#define NATTEN_MPS_MAX_BINDINGS 31

/** One kernel launch of a run, for hosts that launch it themselves. */
typedef struct natten_mps_dispatch {
  uint64_t size;           /**< sizeof(natten_mps_dispatch) */
  uint8_t* bytes;          /**< the caller's memory for constant arguments */
  uint64_t bytes_capacity; /**< its size */
  uint64_t bytes_length;   /**< what is needed of it */
  int32_t count;           /**< dispatches of the whole run, in order, each of
                                which sees what those before it wrote */
  int32_t bindings_count;
  int64_t groups[3];  /**< threadgroups along x, y, z */
  int64_t threads[3]; /**< threads of a threadgroup along x, y, z */
  char function[256]; /**< name of the kernel */
  natten_mps_binding bindings[NATTEN_MPS_MAX_BINDINGS]; /**< by buffer index */
} natten_mps_dispatch;

/** Describes dispatch `index`, from 0, of a run of a "metal" plan with `args`,
 *  without running it. If the run has none (an empty batch), count is 0 and the
 *  other fields are not written. */
NATTEN_MPS_API int32_t
natten_mps_plan_launch(natten_mps_plan plan,
                       NATTEN_MPS_CONST natten_mps_args* args,
                       int32_t index,
                       natten_mps_dispatch* dispatch,
                       natten_mps_error* error);

/** Writes the Metal shading language source, version 3.1, of a kernel that
 *  natten_mps_plan_launch named, NUL-terminated, if it fits in `capacity`.
 *  *length is always set to its size in bytes without the NUL. */
NATTEN_MPS_API int32_t natten_mps_plan_source(natten_mps_plan plan,
                                              NATTEN_MPS_CONST char* function,
                                              char* text,
                                              uint64_t capacity,
                                              uint64_t* length,
                                              natten_mps_error* error);

/* -------------------------------------------------------- convenience -- */

/** Fused attention, forward, on dense heads-last host tensors, by a plan that
 *  it makes, runs and destroys: writes `out` from `query`, `key` and `value`,
 *  all four of `dtype` (natten_mps_dtype) and of `shape`, the rank + 3 numbers
 *  batch, the 1 to 3 lengths, heads and head_dim. `kernel` has the window size
 *  along each axis. Scale 1/sqrt(head_dim), no dilation, not causal. */
NATTEN_MPS_API int32_t natten_mps_attention(int32_t dtype,
                                            int32_t rank,
                                            NATTEN_MPS_CONST int64_t* shape,
                                            NATTEN_MPS_CONST int64_t* kernel,
                                            NATTEN_MPS_CONST void* query,
                                            NATTEN_MPS_CONST void* key,
                                            NATTEN_MPS_CONST void* value,
                                            void* out,
                                            natten_mps_error* error);

/** The keys that one query sees along one axis. */
typedef struct natten_mps_window_info {
  uint64_t size; /**< sizeof(natten_mps_window_info) */
  int64_t first; /**< index of the first visible key */
  int64_t count; /**< number of visible keys, >= 1 */
  int64_t step;  /**< step between neighboring keys: the dilation */
  int64_t slot;  /**< window slot (0 ... kernel-1) of the first visible key */
} natten_mps_window_info;

/** Window of the query at index `query` (0 <= query < length) of `axis`, so
 *  that callers need not reimplement the rule. `mask_first` is 0 or 1, see
 *  NATTEN_MPS_MASK_FIRST; it only affects `slot`. */
NATTEN_MPS_API int32_t natten_mps_window(NATTEN_MPS_CONST natten_mps_axis* axis,
                                         int32_t mask_first,
                                         int64_t query,
                                         natten_mps_window_info* window,
                                         natten_mps_error* error);

/** Reads the query range of `range` (all zero: the whole axis) and writes
 *  query_count, if that was 0, and the key range: the smallest with every key
 *  that the queries see (where query_step and dilation both exceed 1, including
 *  those seen from between computed queries). Since ABI version 2. */
NATTEN_MPS_API int32_t
natten_mps_window_range(NATTEN_MPS_CONST natten_mps_axis* axis,
                        natten_mps_range* range,
                        natten_mps_error* error);

#ifdef __cplusplus
}
#endif

#endif /* NATTEN_MPS_H */
