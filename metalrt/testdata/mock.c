/* SPDX-License-Identifier: MIT
 *
 * The C symbols that metalrt opens. A test chooses their behavior, including
 * failures that a GPU does not produce on demand. Every message is recorded in
 * mock_log. The mock does not execute kernels; tests/metalsim does.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct object {
  struct object* isa;
  const char* kind;
  int references;
  uint64_t length;
  char text[96];
} object;

enum {
  NO_LIBRARY = 1, /* the compiler fails, with an NSError */
  WARNING = 2,    /* it succeeds, with an NSError */
  NO_FUNCTION = 4,
  NO_PIPELINE = 8,
  NO_MEMORY = 16,
  NO_COPY_DECLINED = 32, /* newBufferWithBytesNoCopy returns nil */
  GPU_FAULT = 64,
  GPU_OUT_OF_MEMORY = 128,
  OLD_SYSTEM = 256,      /* macOS 14: no math mode */
  CONCURRENT = 512,      /* torch's encoder is concurrent */
  SILENT_ENCODER = 1024, /* torch's encoder does not say its dispatch type */
  NO_ENCODER = 2048,
  OTHER_STREAM = 4096,
  BLOCK_FAILS = 8192,
  BLOCK_IS_LOST = 16384,
  NO_DEVICE = 32768,
  NO_DEVICES = 65536 /* MTLCopyAllDevices returns an empty list */
};

int mock_faults;
int mock_alive; /* objects with references */
char mock_log[1 << 16];

static object class_buffer = {.kind = "class"}, class_other = {.kind = "class"};
static object the_error, the_encoder, the_commands;

static void note(const char* format, ...) {
  __builtin_va_list arguments;
  size_t n = strlen(mock_log);
  __builtin_va_start(arguments, format);
  vsnprintf(mock_log + n, sizeof mock_log - n, format, arguments);
  __builtin_va_end(arguments);
}

static object* make(const char* kind) {
  object* o = calloc(1, sizeof *o);
  o->isa = strcmp(kind, "MTLBuffer") ? &class_other : &class_buffer;
  o->kind = kind;
  o->references = 1;
  mock_alive++;
  return o;
}

/* Autoreleased objects are static here. */
static object* borrow(object* o, const char* kind) {
  o->isa = &class_other;
  o->kind = kind;
  return o;
}

static object* failed(object** nserror, const char* why) {
  strcpy(borrow(&the_error, "NSError")->text, why);
  *nserror = &the_error;
  return 0;
}

static uint64_t compile(object* source, object** nserror) {
  if (mock_faults & NO_LIBRARY)
    return (uint64_t)failed(nserror, "program_source:1:1: error: unknown type");
  if (mock_faults & WARNING)
    failed(nserror, "program_source:1:1: warning: unused");
  note("source=%s ", source->text);
  return (uint64_t)make("MTLLibrary");
}

static uint64_t string(object* o, const char* bytes, uint64_t length) {
  snprintf(o->text, sizeof o->text, "%.*s", (int)length, bytes);
  return (uint64_t)o;
}

static uint64_t release(object* o) {
  if (--o->references == 0) {
    mock_alive--;
    o->isa = 0;
    free(o);
  }
  return 0;
}

static int responds(object* o, const char* sel) {
  if (!strncmp(sel, "setMath", 7)) return !(mock_faults & OLD_SYSTEM);
  if (!strcmp(sel, "dispatchType")) return !(mock_faults & SILENT_ENCODER);
  return o != 0;
}

static object* borrow_device(void) {
  static object device = {.references = 1};
  return borrow(&device, "MTLDevice");
}

/* Structs passed by value are on the stack here, as in the amd64 ABI. */
uint64_t objc_msgSend(object* o,
                      const char* sel,
                      uint64_t a,
                      uint64_t b,
                      uint64_t c,
                      uint64_t d,
                      uint64_t g0,
                      uint64_t g1,
                      uint64_t g2,
                      uint64_t t0,
                      uint64_t t1,
                      uint64_t t2) {
#define IS(name) (!strcmp(sel, name))
  if (o == 0) return 0;
  if (IS("release")) return release(o);
  if (IS("retain")) return note("retain "), o->references++, (uint64_t)o;
  if (IS("alloc") || IS("new")) return (uint64_t)make(o->kind);
  if (IS("respondsToSelector:")) return responds(o, (const char*)a);
  if (IS("conformsToProtocol:")) return o->isa == &class_buffer;
  if (IS("initWithBytes:length:encoding:")) return string(o, (const char*)a, b);
  if (IS("UTF8String")) return (uint64_t)o->text;
  if (IS("lengthOfBytesUsingEncoding:")) return strlen(o->text);
  if (IS("localizedDescription") || IS("name")) return (uint64_t)o;
  if (IS("domain")) {
    static object domain;
    int gpu = mock_faults & (GPU_FAULT | GPU_OUT_OF_MEMORY);
    strcpy(borrow(&domain, "NSString")->text,
           gpu ? "MTLCommandBufferErrorDomain" : "MTLLibraryErrorDomain");
    return (uint64_t)&domain;
  }
  if (IS("code")) return mock_faults & GPU_OUT_OF_MEMORY ? 8 : 3;
  if (IS("supportsFamily:")) return a <= 1008;
  if (IS("registryID")) return 77;
  if (IS("count")) return mock_faults & NO_DEVICES ? 0 : 1;
  if (IS("objectAtIndex:")) return (uint64_t)borrow_device();
  if (IS("length")) return o->length;
  if (IS("contents")) return (uint64_t)o->text;
  if (IS("device")) return (uint64_t)borrow_device();
  if (IS("dispatchType")) return mock_faults & CONCURRENT ? 1 : 0;
  if (IS("maxTotalThreadsPerThreadgroup")) return 384;
  if (IS("newCommandQueue")) return (uint64_t)make("MTLCommandQueue");
  if (IS("newLibraryWithSource:options:error:"))
    return compile((object*)a, (object**)c);
  if (IS("newFunctionWithName:"))
    return mock_faults & NO_FUNCTION ? 0 : (uint64_t)make("MTLFunction");
  if (IS("newComputePipelineStateWithFunction:error:"))
    return mock_faults & NO_PIPELINE
               ? (uint64_t)failed((object**)b, "too many registers")
               : (uint64_t)make("MTLComputePipelineState");
  if (IS("newBufferWithLength:options:")) {
    if (mock_faults & NO_MEMORY) return 0;
    object* buffer = make("MTLBuffer");
    buffer->length = a;
    return (uint64_t)buffer;
  }
  if (IS("newBufferWithBytesNoCopy:length:options:deallocator:")) {
    if (mock_faults & NO_COPY_DECLINED) return 0;
    note("noCopy(%llx,%llu) ", (unsigned long long)a, (unsigned long long)b);
    object* buffer = make("MTLBuffer");
    buffer->length = b;
    return (uint64_t)buffer;
  }
  if (IS("commandBuffer"))
    return (uint64_t)borrow(&the_commands, "MTLCommandBuffer");
  if (IS("computeCommandEncoder"))
    return mock_faults & NO_ENCODER
               ? 0
               : (uint64_t)borrow(&the_encoder, "MTLComputeCommandEncoder");
  if (IS("status"))
    return mock_faults & (GPU_FAULT | GPU_OUT_OF_MEMORY) ? 5 : 4;
  if (IS("error")) {
    object* none;
    failed(&none, "the GPU faulted");
    return (uint64_t)&the_error;
  }
  if (IS("setBytes:length:atIndex:"))
    note("%s%.*s,%llu ", sel, (int)b, (const char*)a, (unsigned long long)c);
  else if (IS("dispatchThreadgroups:threadsPerThreadgroup:")) {
#ifdef __aarch64__ /* structs of more than 16 bytes: the address of a copy */
    uint64_t* pg = (uint64_t*)a;
    uint64_t* pt = (uint64_t*)b;
    g0 = pg[0], g1 = pg[1], g2 = pg[2], t0 = pt[0], t1 = pt[1], t2 = pt[2];
    /* the callee owns the copies */
    for (int i = 0; i < 3; i++) pg[i] = pt[i] = 0xdead;
#endif
    note("dispatch(%llu,%llu,%llu)(%llu,%llu,%llu) ",
         (unsigned long long)g0,
         (unsigned long long)g1,
         (unsigned long long)g2,
         (unsigned long long)t0,
         (unsigned long long)t1,
         (unsigned long long)t2);
  } else
    note("%s%llu,%llu,%llu ",
         sel,
         (unsigned long long)a,
         (unsigned long long)b,
         (unsigned long long)c);
  (void)d;
  return 0;
}

void* objc_getClass(const char* name) {
  static object classes[8];
  static int n;
  return borrow(&classes[n++ % 8], strdup(name));
}
void* objc_getProtocol(const char* name) { return (void*)name; }
void* objc_autoreleasePoolPush(void) { return note("push "), (void*)1; }
void objc_autoreleasePoolPop(void* token) { note("pop "), (void)token; }
void* object_getClass(object* o) { return o->isa; }
const char* sel_registerName(const char* name) { return strdup(name); }
void* objc_copyClassList(unsigned* count) {
  void** list = malloc(2 * sizeof *list);
  list[0] = &class_other;
  list[1] = &class_buffer;
  *count = 2;
  return list;
}
/* Replaces the allocator's malloc_size: interior pointers are not allocations.
 */
size_t malloc_size(const void* p) {
  return (uintptr_t)p % 16 == 0 ? sizeof(object) : 0;
}
#ifndef MOCK_WITHOUT_DEFAULT
void* MTLCreateSystemDefaultDevice(void) {
  note("default ");
  return mock_faults & NO_DEVICE ? 0 : make("MTLDevice");
}
#endif
#ifndef MOCK_WITHOUT_LIST
void* MTLCopyAllDevices(void) { return make("NSArray"); }
#endif

/* ------------------------------------------------------------- streams -- */

void dispatch_sync_f(void* queue, void* context, void (*work)(void*)) {
  note("queue%llu ", (unsigned long long)(uintptr_t)queue);
  work(context);
}
void* _ZN2at3mps19getDefaultMPSStreamEv(void) { return (void*)0x10; }
void* _ZN2at3mps19getCurrentMPSStreamEv(void) {
  return (void*)(uintptr_t)(mock_faults & OTHER_STREAM ? 0x20 : 0x10);
}
void* _ZN5torch3mps18get_dispatch_queueEv(void) { return (void*)7; }
void* _ZN2at3mps9MPSStream14commandEncoderEv(void* stream) {
  note("stream%llx ", (unsigned long long)(uintptr_t)stream);
  if (mock_faults & NO_ENCODER) return 0;
  return borrow(&the_encoder, "MTLComputeCommandEncoder");
}
#ifndef MOCK_TORCH_2_9
int aoti_torch_mps_create_shader_library(const char* source, void** library) {
  *library = (void*)source;
  return mock_faults & NO_LIBRARY ? 1 : 0;
}
int aoti_torch_mps_get_kernel_function(void* library,
                                       const char* name,
                                       void** function) {
  *function = (void*)0x30;
  return (mock_faults & NO_FUNCTION) || !strstr(library, name);
}
int aoti_torch_mps_run_command_block(void* function,
                                     void (*block)(void*, void*),
                                     void* context) {
  note("block%llx ", (unsigned long long)(uintptr_t)function);
  if (mock_faults & BLOCK_FAILS) return 1;
  if (mock_faults & BLOCK_IS_LOST) return 0;
  block(function, context);
  return 0;
}
#endif
