// SPDX-License-Identifier: MIT
//
// encoder.cpp - the compute encoder and the rules of Metal's validation layer.
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "findings.h"
#include "metal.h"

namespace sim {
namespace {

constexpr uint64_t kLastIndex = 30, kMaxBytes = 4096;

__attribute__((format(printf, 1, 2))) std::string text(const char* format, ...) {
  char s[512];
  va_list v;
  va_start(v, format);
  vsnprintf(s, sizeof s, format, v);
  va_end(v);
  return s;
}

std::string text(Size3 s) { return text("%" PRIu64 "x%" PRIu64 "x%" PRIu64, s.x, s.y, s.z); }

void dispatch_threadgroups(Encoder* e, SEL, Size3 groups, Size3 group) {
  e->dispatch({groups.x * group.x, groups.y * group.y, groups.z * group.z}, group);
}

void set_pipeline(Encoder* e, SEL, Object* o) {
  auto* p = is_object(o) ? dynamic_cast<Pipeline*>(o) : nullptr;
  if (!p)
    e->buffer->fail(text("setComputePipelineState: %p is no pipeline%s", static_cast<void*>(o),
                         explain_object(o).c_str()));
  e->pipeline = Owned<Pipeline>(p);
}

void set_threadgroup_memory(Encoder* e, SEL, uint64_t n, uint64_t index) {
  if (n % 16 || n > kMaxThreadgroupMemory || index > kLastIndex) {
    e->buffer->fail(text("setThreadgroupMemoryLength: %" PRIu64 " at index %" PRIu64
                         " (want a multiple of 16, at most 32768)",
                         n, index));
    return;
  }
  e->threadgroup_memory.resize(kLastIndex + 1);
  e->threadgroup_memory[index] = static_cast<uint32_t>(n);
}

void barrier(Encoder* e, SEL, uint64_t scope) {
  if (!(scope & 1))
    e->buffer->fail(text("memoryBarrierWithScope: %" PRIu64 " leaves buffers out", scope));
  e->read.clear();
  e->written.clear();
}

}  // namespace

Encoder* make_encoder(CommandBuffer* b, bool concurrent) {
  if (injected("encoder")) return nullptr;
  if (b->status != kNotEnqueued) {
    b->fail("computeCommandEncoder: the command buffer was committed");
    return nullptr;
  }
  if (b->open) {
    b->fail("A command encoder is already encoding to this command buffer");
    return nullptr;
  }
  Encoder* e = make<Encoder>(*find_class("SimComputeCommandEncoder"));
  e->buffer = Owned<CommandBuffer>(b);
  e->concurrent = concurrent;
  b->open = e;
  count(kEncoders);
  return e;
}

Encoder::~Encoder() {
  if (ended || !buffer) return;
  buffer->fail("a command encoder was released without endEncoding");
  buffer->open = nullptr;
}

Binding& Encoder::bind(uint64_t index) {
  if (index >= bindings.size()) bindings.resize(index + 1);
  return bindings[index];
}

bool Encoder::usable(const char* what) {
  if (!ended && buffer->status == kNotEnqueued) return true;
  buffer->fail(std::string(what) +
               (ended ? " after endEncoding" : " on a committed command buffer"));
  return false;
}

void Encoder::set_buffer(Object* o, uint64_t offset, uint64_t index) {
  if (!usable("setBuffer:")) return;
  if (index > kLastIndex) {
    buffer->fail(text("setBuffer: index %" PRIu64 " (the last is 30)", index));
    return;
  }
  auto* b = is_object(o) ? dynamic_cast<Buffer*>(o) : nullptr;
  if (o && !b) {
    buffer->fail(text("setBuffer: %p at index %" PRIu64 " is no MTLBuffer%s", static_cast<void*>(o),
                      index, explain_object(o).c_str()));
    return;
  }
  if (b && offset >= b->length) {
    buffer->fail(text("setBuffer: offset %" PRIu64 " at index %" PRIu64 " in a buffer of %" PRIu64
                      " bytes",
                      offset, index, b->length));
    return;
  }
  bind(index) = Binding{Owned<Buffer>(b), offset, nullptr};
}

void Encoder::set_bytes(const void* p, uint64_t n, uint64_t index) {
  if (!usable("setBytes:")) return;
  if (index > kLastIndex || n == 0 || n > kMaxBytes || !p) {
    buffer->fail(text("setBytes: %" PRIu64 " bytes at index %" PRIu64
                      " (want 1 to 4096 bytes, index up to 30)",
                      n, index));
    return;
  }
  auto bytes = std::make_shared<std::vector<uint8_t>>(n + 2 * kMargin, 0xff);
  memcpy(bytes->data() + kMargin, p, n);
  bind(index) = Binding{Owned<Buffer>(), kMargin, std::move(bytes)};
}

void Encoder::check_arguments(Size3 group) {
  const std::string& name = pipeline->kernel->name;
  uint64_t memory = pipeline->kernel->threadgroup_memory;
  for (const Argument& a : pipeline->kernel->arguments) {
    if (a.index < 0) continue;
    size_t i = static_cast<size_t>(a.index);
    if (a.kind == "threadgroup") {
      uint64_t n = i < threadgroup_memory.size() ? threadgroup_memory[i] : 0;
      if (!n)
        buffer->fail(
            text("%s: no length set for threadgroup(%zu) %s", name.c_str(), i, a.name.c_str()));
      memory += n;
      continue;
    }
    const Binding& b = bind(i);
    if (!b) {
      buffer->fail(text("%s: nothing bound at buffer(%zu) %s", name.c_str(), i, a.name.c_str()));
      continue;
    }
    uint64_t left = b.bytes ? b.bytes->size() - 2 * kMargin : b.buffer->length - b.offset;
    if (a.align && b.offset % a.align)
      buffer->fail(text("%s: offset %" PRIu64 " at buffer(%zu) %s is not aligned to %u",
                        name.c_str(), b.offset, i, a.name.c_str(), a.align));
    if (a.reference && left < a.size)
      buffer->fail(text("%s: buffer(%zu) %s has %" PRIu64 " bytes, the kernel reads %u",
                        name.c_str(), i, a.name.c_str(), left, a.size));
  }
  if (memory > kMaxThreadgroupMemory)
    buffer->fail(text("%s: %" PRIu64 " bytes of threadgroup memory (want at most 32768)",
                      name.c_str(), memory));
  if (group.count() > pipeline->max_threads)
    buffer->fail(text("%s: %" PRIu64 " threads per threadgroup, the pipeline takes %" PRIu64,
                      name.c_str(), group.count(), pipeline->max_threads));
}

// In a concurrent encoder a dispatch that depends on an earlier one needs a
// barrier between the two.
void Encoder::check_hazards() {
  for (const Argument& a : pipeline->kernel->arguments) {
    if (a.kind != "buffer" || !bind(static_cast<size_t>(a.index)).buffer) continue;
    const void* b = bind(static_cast<size_t>(a.index)).buffer.get();
    bool writes = a.space == 1;
    if (written.count(b) || (writes && read.count(b)))
      buffer->fail(
          text("%s: buffer(%d) %s depends on an earlier dispatch of this concurrent encoder with "
               "no memory barrier between",
               pipeline->kernel->name.c_str(), a.index, a.name.c_str()));
  }
  for (const Argument& a : pipeline->kernel->arguments)
    if (a.kind == "buffer")
      (a.space == 1 ? written : read).insert(bind(static_cast<size_t>(a.index)).buffer.get());
}

void Encoder::dispatch(Size3 threads, Size3 group) {
  if (!usable("dispatch")) return;
  if (!pipeline) {
    buffer->fail("dispatch without a compute pipeline state");
    return;
  }
  if (!threads.count() || !group.count()) {
    buffer->fail(pipeline->kernel->name + ": grid of " + text(threads) + " threads in groups of " +
                 text(group));
    return;
  }
  if (threads.x > UINT32_MAX || threads.y > UINT32_MAX || threads.z > UINT32_MAX)
    buffer->fail(pipeline->kernel->name + ": grid of " + text(threads) +
                 " threads does not fit 32 bits");
  size_t faults = buffer->faults;
  check_arguments(group);
  if (concurrent) check_hazards();
  if (buffer->faults != faults) return;
  Command c;
  c.dispatch =
      std::make_unique<Dispatch>(Dispatch{pipeline, bindings, threadgroup_memory, threads, group});
  buffer->commands.push_back(std::move(c));
  count(kDispatches);
}

void Encoder::end() {
  if (!usable("endEncoding")) return;
  ended = true;
  buffer->open = nullptr;
}

void define_encoder() {
  define_class("SimComputeCommandEncoder", {"MTLComputeCommandEncoder", "MTLCommandEncoder"})
      .on("setComputePipelineState:", imp(set_pipeline))
      .on("setBuffer:offset:atIndex:", METHOD(Encoder* e, SEL, Object* b, uint64_t o, uint64_t i) {
    e->set_buffer(b, o, i); }))
      .on("setBytes:length:atIndex:", METHOD(Encoder* e, SEL, const void* p, uint64_t n, uint64_t i) {
    e->set_bytes(p, n, i); }))
      .on("setThreadgroupMemoryLength:atIndex:", imp(set_threadgroup_memory))
      .on("dispatchThreads:threadsPerThreadgroup:", METHOD(Encoder* e, SEL, Size3 t, Size3 g) {
    e->dispatch(t, g); }))
      .on("dispatchThreadgroups:threadsPerThreadgroup:", imp(dispatch_threadgroups))
      .on("dispatchType", METHOD(Encoder* e, SEL) {
    return uint64_t{e->concurrent}; }))
      .on("memoryBarrierWithScope:", imp(barrier))
      .on("device", METHOD(Encoder* e, SEL) {
    return device(e->torch ? settings().torch_gpu : 0); }))
      .on("endEncoding", METHOD(Encoder* e, SEL) {
    if (e->torch)
      e->buffer->fail("endEncoding: this encoder is torch's, which ends it itself");
    else
      e->end();
      }));
}

}  // namespace sim
