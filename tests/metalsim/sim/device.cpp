// SPDX-License-Identifier: MIT
//
// device.cpp - device, library, function, pipeline, buffer.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "export.h"
#include "findings.h"
#include "metal.h"

namespace sim {
namespace {

constexpr uint64_t kMaxThreads = 1024;
constexpr uint64_t kFirstRegistryID = uint64_t{1} << 32;
constexpr uint64_t kMaxBuffer = uint64_t{1} << 34;
// Each buffer of the device lies between pages that fault.
constexpr size_t kGuard = 1 << 16;

uint64_t page_size() {
  uint32_t p = settings().page_size;
  return p ? p : static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

bool is_last(const Device* d) { return d->number == settings().gpus; }

bool supports_family(Device* d, SEL, int64_t family) {
  int f = is_last(d) ? settings().family : 0;
  if (family >= 1001 && family <= 1010) return family - 1000 <= f;
  if (family == 5001) return f >= 7;        // Metal3
  if (family == 5002) return f >= 7;        // Metal4
  return family >= 3001 && family <= 3003;  // Common1-3
}

// chosen returns what the options specify. Defaults differ between versions of macOS:
// here they are the newest language and fast mathematics.
Dialect chosen(const CompileOptions* options) {
  Dialect d{4 << 16, 2};
  if (options && options->language)
    d.language = options->language;
  else
    finding("source", "newLibraryWithSource: languageVersion is not set");
  if (options && options->math >= 0)
    d.math = options->math;
  else
    finding("source", "newLibraryWithSource: neither mathMode nor fastMathEnabled is set");
  return d;
}

Library* new_library(Device*, SEL, String* source, CompileOptions* options, Error** error) {
  if (error) *error = nullptr;
  if (!source) {
    finding("validation", "newLibraryWithSource: source is nil");
    return nullptr;
  }
  std::string err;
  Dialect dialect = chosen(options);
  Library* l = injected("library") ? nullptr : make_library(source->text, dialect, &err);
  if (!l && !injected("silent"))
    give_error(error, "MTLLibraryErrorDomain", 3,
               err.empty() ? "Compiler encountered an internal error (injected)" : err);
  return l;
}

Pipeline* new_pipeline(Function* f, uint64_t max_threads, Error** error) {
  if (error) *error = nullptr;
  if (!f) {
    finding("validation", "newComputePipelineState: computeFunction is nil");
    return nullptr;
  }
  std::string err;
  Pipeline* p = make_pipeline(f, max_threads, &err);
  if (!p && !injected("silent")) give_error(error, "AGXMetalG13X", 3, err);
  return p;
}

Buffer* wrap_pages(Device*, SEL, char* p, uint64_t length, uint64_t options, void* deallocator) {
  uint64_t page = page_size();
  if (deallocator) {
    finding("validation", "newBufferWithBytesNoCopy: blocks are not modelled, pass nil");
    return nullptr;
  }
  if (reinterpret_cast<uint64_t>(p) % page || length % page || !length || !p) {
    finding("validation",
            "newBufferWithBytesNoCopy: pointer %p, length %llu: want both in pages of %llu",
            static_cast<void*>(p), static_cast<unsigned long long>(length),
            static_cast<unsigned long long>(page));
    return nullptr;
  }
  if (options & kStoragePrivate) {
    finding("validation", "newBufferWithBytesNoCopy: storage mode private");
    return nullptr;
  }
  if (injected("buffer") || injected("wrap")) return nullptr;
  Buffer* b = wrap_memory(p, length);
  b->options = options;
  count(kWrapped);
  return b;
}

}  // namespace

namespace {

// misread returns a source as a faulty compiler would read it.
std::string misread(std::string source) {
  const Settings& s = settings();
  size_t arrow = s.miscompile.find("=>");
  if (arrow == std::string::npos || source.find(s.miscompile_for) == std::string::npos)
    return source;
  std::string from = s.miscompile.substr(0, arrow), to = s.miscompile.substr(arrow + 2);
  for (size_t at = 0; (at = source.find(from, at)) != std::string::npos; at += to.size())
    source.replace(at, from.size(), to);
  return source;
}

Device* make_device(int number) {
  Device* d = make<Device>(*find_class("SimDevice"));
  d->number = number;
  String* n = make_string(is_last(d) ? settings().name : "AMD Radeon Pro 5500M (simulated)");
  d->name = Owned<String>(n);
  release(n);
  return d;
}

}  // namespace

Device* device(int number) {
  static std::mutex mu;
  static auto* devices = new std::map<std::pair<int, bool>, Device*>;
  if (!number) number = settings().gpus;
  if (settings().wrap_devices) return static_cast<Device*>(autorelease(make_device(number)));
  std::lock_guard<std::mutex> g(mu);
  Device*& d = (*devices)[{number, number == settings().gpus}];
  if (!d) d = make_device(number);
  return d;
}

Library* make_library(const std::string& source, const Dialect& dialect, std::string* err) {
  std::shared_ptr<Module> m = compile(misread(source), dialect, err);
  if (!m) return nullptr;
  Library* l = make<Library>(*find_class("SimLibrary"));
  l->module = m;
  count(kLibraries);
  return l;
}

Function* make_function(Library* l, const std::string& name) {
  const Kernel* k = injected("function") ? nullptr : l->module->find(name);
  if (!k) return nullptr;
  Function* f = make<Function>(*find_class("SimFunction"));
  f->module = l->module;
  f->kernel = k;
  String* s = make_string(name);
  f->name = Owned<String>(s);
  release(s);
  return f;
}

Pipeline* make_pipeline(const Function* f, uint64_t max_threads, std::string* err) {
  if (injected("pipeline")) {
    *err = "Compute function exceeds available temporary registers (injected)";
    return nullptr;
  }
  if (f->kernel->threadgroup_memory > kMaxThreadgroupMemory) {
    *err = "Threadgroup memory size (" + std::to_string(f->kernel->threadgroup_memory) +
           ") exceeds the maximum threadgroup memory allowed (" +
           std::to_string(kMaxThreadgroupMemory) + ")";
    return nullptr;
  }
  Pipeline* p = make<Pipeline>(*find_class("SimComputePipelineState"));
  p->module = f->module;
  p->kernel = f->kernel;
  const Settings& s = settings();
  p->max_threads = kMaxThreads;
  if (f->kernel->name.find(s.max_threads_for) != std::string::npos)
    p->max_threads = std::min<uint64_t>(kMaxThreads, s.max_threads);
  for (uint64_t limit : {max_threads, uint64_t{f->kernel->max_threads}})
    if (limit) p->max_threads = std::min(p->max_threads, limit);
  count(kPipelines);
  return p;
}

Buffer::~Buffer() {
  if (mapped) munmap(memory - kGuard, mapped + 2 * kGuard);
}

Buffer* wrap_memory(void* p, uint64_t length) {
  Buffer* b = make<Buffer>(*find_class("SimBuffer"));
  b->memory = static_cast<char*>(p);
  b->length = length;
  return b;
}

Buffer* make_buffer(uint64_t length, uint64_t options) {
  if (!length || length > kMaxBuffer) {
    finding("validation", "newBufferWithLength: %llu (want 1 to %llu)",
            static_cast<unsigned long long>(length), static_cast<unsigned long long>(kMaxBuffer));
    return nullptr;
  }
  if (injected("buffer")) return nullptr;
  size_t n = (length + 4095) & ~size_t{4095};
  char* p = static_cast<char*>(
      mmap(nullptr, n + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (p == MAP_FAILED) return nullptr;
  if (mprotect(p + kGuard, n, PROT_READ | PROT_WRITE)) {
    munmap(p, n + 2 * kGuard);
    return nullptr;
  }
  Buffer* b = wrap_memory(p + kGuard, length);
  b->mapped = n;
  b->options = options;
  b->undefined = true;
  memset(b->memory, 0xff, length);  // NaN to floats
  count(kBuffers);
  return b;
}

void define_metal() {
  define_class("MTLCompileOptions", {"NSCopying"})
      .on("setLanguageVersion:", METHOD(CompileOptions* o, SEL, uint64_t v) {
    o->language = v; }))
      .on("languageVersion", METHOD(CompileOptions* o, SEL) {
    return o->language; }))
      .on("setFastMathEnabled:", METHOD(CompileOptions* o, SEL, bool on) {
    o->math = on ? 2 : 0; }))
      .on("setMathMode:", METHOD(CompileOptions* o, SEL, int64_t m) {
    o->math = m; }))
      .on("setMathFloatingPointFunctions:", METHOD(CompileOptions*, SEL, int64_t) {}))
      .on_class("new", METHOD(Class* c, SEL) {
    return make<CompileOptions>(*c); }));
  define_class("MTLComputePipelineDescriptor", {"NSCopying"})
      .on("setComputeFunction:", METHOD(PipelineDescriptor* d, SEL, Function* f) {
    d->function = Owned<Function>(f); }))
      .on("setLabel:", METHOD(PipelineDescriptor* d, SEL, String* s) {
    d->label = Owned<String>(s); }))
      .on("setMaxTotalThreadsPerThreadgroup:", METHOD(PipelineDescriptor* d, SEL, uint64_t n) {
    d->max_threads = n; }))
      .on("setThreadGroupSizeIsMultipleOfThreadExecutionWidth:", METHOD(PipelineDescriptor*, SEL, bool) {}))
      .on("init", METHOD(PipelineDescriptor* d, SEL) {
    return d; }))
      .on_class("alloc", METHOD(Class* c, SEL) {
    return make<PipelineDescriptor>(*c); }))
      .on_class("new", METHOD(Class* c, SEL) {
    return make<PipelineDescriptor>(*c); }));
  define_class("SimDevice", {"MTLDevice"})
      .on("name", METHOD(Device* d, SEL) {
    return d->name.get(); }))
      .on("supportsFamily:", imp(supports_family))
      .on("hasUnifiedMemory", METHOD(Device*, SEL) {
    return true; }))
      .on("maxThreadgroupMemoryLength", METHOD(Device*, SEL) {
    return kMaxThreadgroupMemory; }))
      .on("maxBufferLength", METHOD(Device*, SEL) {
    return kMaxBuffer; }))
      .on("recommendedMaxWorkingSetSize", METHOD(Device*, SEL) {
    return kMaxBuffer; }))
      .on("registryID", METHOD(Device* d, SEL) {
    return kFirstRegistryID + static_cast<uint64_t>(d->number); }))
      .on("newLibraryWithSource:options:error:", imp(new_library))
      .on("newComputePipelineStateWithFunction:error:",
          METHOD(Device*, SEL, Function* f, Error** e) {
    return new_pipeline(f, 0, e); }))
      .on("newComputePipelineStateWithDescriptor:options:reflection:error:",
          METHOD(Device*, SEL, PipelineDescriptor* d, uint64_t, void**, Error** e) {
    return new_pipeline(d->function.get(), d->max_threads, e);
          }))
      .on("newBufferWithLength:options:", METHOD(Device*, SEL, uint64_t n, uint64_t o) {
    return make_buffer(n, o); }))
      .on("newBufferWithBytesNoCopy:length:options:deallocator:", imp(wrap_pages))
      .on("newCommandQueue", METHOD(Device*, SEL) {
    return make_queue(); }));
  define_class("SimLibrary", {"MTLLibrary"})
      .on("functionNames", METHOD(Library* l, SEL) {
    std::vector<std::string> names;
    for (const Kernel& k : l->module->kernels) names.push_back(k.name);
    return autorelease(make_array(names));
      }))
      .on("newFunctionWithName:", METHOD(Library* l, SEL, String* n) {
    return make_function(l, n->text); }));
  define_class("SimFunction", {"MTLFunction"}).on("name", METHOD(Function* f, SEL) {
    return f->name.get(); }));
  define_class("SimComputePipelineState", {"MTLComputePipelineState"})
      .on("maxTotalThreadsPerThreadgroup", METHOD(Pipeline* p, SEL) {
    return p->max_threads; }))
      .on("threadExecutionWidth", METHOD(Pipeline*, SEL) {
    return uint64_t{settings().width}; }))
      .on("staticThreadgroupMemoryLength", METHOD(Pipeline* p, SEL) {
    return uint64_t{p->kernel->threadgroup_memory}; }))
      .on("device", METHOD(Pipeline*, SEL) {
    return device(); }));
  define_class("SimBuffer", {"MTLBuffer", "MTLResource"})
      .on("length", METHOD(Buffer* b, SEL) {
    return b->length; }))
      .on("gpuAddress", METHOD(Buffer* b, SEL) {
    return reinterpret_cast<uint64_t>(b->memory); }))
      .on("device", METHOD(Buffer*, SEL) {
    return device(); }))
      .on("contents", METHOD(Buffer* b, SEL) -> void* {
    if (b->options & kStoragePrivate || injected("contents")) return nullptr;
    b->undefined = false;  // from here on the host may write to it
    return b->memory;
      }));
}

}  // namespace sim

API sim::Object* MTLCreateSystemDefaultDevice() {
  return sim::injected("device") ? nullptr : sim::retain(sim::device());
}

API sim::Object* MTLCopyAllDevices() {
  sim::Array* list = sim::make_array({});
  for (int i = 1; i <= sim::settings().gpus && !sim::injected("devices"); i++)
    list->items.emplace_back(sim::device(i));
  return list;
}
