// SPDX-License-Identifier: MIT
//
// command.cpp - command queue and command buffer.
#include <time.h>

#include <atomic>

#include "findings.h"
#include "metal.h"

namespace sim {
namespace {

std::atomic<uint64_t> unfinished{0};

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// A fault of the GPU that a test asked for: code and text as Metal words them.
struct GpuFault {
  const char* name;
  int64_t code;
  const char* text;
};
constexpr GpuFault gpu_faults[] = {
    {"gpu", 3,
     "Caused GPU Address Fault Error (0000000b:kIOGPUCommandBufferCallbackErrorPageFault)"},
    {"gpu_memory", 8, "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"},
    {"gpu_timeout", 2,
     "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)"}};

void commit(CommandBuffer* b) {
  if (b->torch) {
    b->fail("commit: this command buffer is torch's, which commits it itself");
    return;
  }
  b->queue->commit(b);
}

void wait(CommandBuffer* b) {
  count(kWaits);
  if (b->status == kNotEnqueued)
    b->fail("waitUntilCompleted before commit: it would never return");
  else
    b->queue->finish(b);
}

}  // namespace

uint64_t unfinished_work() { return unfinished; }

void CommandBuffer::fail(const std::string& text) {
  std::string line = finding("validation", "%s", text.c_str());
  if (failure.empty()) failure = line;
  faults++;
}

void CommandBuffer::run() {
  start = now();
  int64_t code = 1;
  for (const Command& c : commands) {
    if (!failure.empty()) break;
    for (const GpuFault& f : gpu_faults)
      if (c.dispatch && injected(f.name)) failure = f.text, code = f.code;
    if (!failure.empty()) break;
    if (c.host)
      c.host();
    else
      failure = run_dispatch(*c.dispatch);
  }
  commands.clear();
  end = now();
  if (!failure.empty()) {
    Error* e = make_error("MTLCommandBufferErrorDomain", code, failure);
    error = Owned<Error>(e);
    release(e);
  }
  status = failure.empty() ? kCompleted : kError;
}

CommandBuffer::~CommandBuffer() {
  if (status == kNotEnqueued && !commands.empty())
    finding("validation", "a command buffer with %zu commands was released and never committed",
            commands.size());
}

void CommandQueue::commit(CommandBuffer* b) {
  count(kCommits);
  if (b->status != kNotEnqueued) {
    b->fail("commit: the command buffer was committed before");
    return;
  }
  if (b->open) b->fail("commit before endEncoding of the open encoder");
  b->status = kCommitted;
  unfinished++;
  {
    std::lock_guard<std::mutex> g(mu);
    committed.emplace_back(b);
  }
  if (settings().schedule == "eager") finish(b);
}

// One GPU: command buffers run one at a time.
void CommandQueue::finish(CommandBuffer* last) {
  static std::mutex gpu;
  std::lock_guard<std::mutex> one(gpu);
  for (;;) {
    Owned<CommandBuffer> b;
    {
      std::lock_guard<std::mutex> g(mu);
      if (committed.empty() || (last && last->status >= kCompleted)) return;
      b = committed.front();
      committed.pop_front();
    }
    b->run();
    unfinished--;
  }
}

CommandQueue* make_queue() {
  return injected("queue") ? nullptr : make<CommandQueue>(*find_class("SimCommandQueue"));
}

CommandBuffer* make_command_buffer(CommandQueue* q) {
  if (injected("command_buffer")) return nullptr;
  CommandBuffer* b = make<CommandBuffer>(*find_class("SimCommandBuffer"));
  b->queue = Owned<CommandQueue>(q);
  count(kCommandBuffers);
  return b;
}

void define_commands() {
  define_class("SimCommandQueue", {"MTLCommandQueue"})
      .on("device", METHOD(CommandQueue*, SEL) {
    return device(); }))
      .on("commandBuffer", METHOD(CommandQueue* q, SEL) -> Object* {
    CommandBuffer* b = make_command_buffer(q);
    return b ? autorelease(b) : nullptr;
      }));
  auto encoder = METHOD(CommandBuffer * b, SEL)->Object* {
    Encoder* e = make_encoder(b, false);
    return e ? autorelease(e) : nullptr;
  });
  auto typed = METHOD(CommandBuffer * b, SEL, uint64_t type)->Object* {
    Encoder* e = make_encoder(b, type == 1);
    return e ? autorelease(e) : nullptr;
  });
  define_class("SimCommandBuffer", {"MTLCommandBuffer"})
      .on("device", METHOD(CommandBuffer*, SEL) {
    return device(); }))
      .on("commandQueue", METHOD(CommandBuffer* b, SEL) {
    return b->queue.get(); }))
      .on("computeCommandEncoder", encoder)
      .on("computeCommandEncoderWithDispatchType:", typed)
      .on("commit", METHOD(CommandBuffer* b, SEL) {
    commit(b); }))
      .on("waitUntilCompleted", METHOD(CommandBuffer* b, SEL) {
    wait(b); }))
      .on("status", METHOD(CommandBuffer* b, SEL) {
    return uint64_t{b->status}; }))
      .on("error", METHOD(CommandBuffer* b, SEL) {
    return b->error.get(); }))
      .on("GPUStartTime", METHOD(CommandBuffer* b, SEL) {
    return b->start; }))
      .on("GPUEndTime", METHOD(CommandBuffer* b, SEL) {
    return b->end; }));
}

}  // namespace sim
