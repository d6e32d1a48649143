// SPDX-License-Identifier: MIT
//
// command.cpp - command queue and command buffer.
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <random>

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

// A fault of the GPU that a test requested, with Metal's code and text.
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
     "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)"},
    {"gpu_internal", 1, "Internal Error (0000000e:Internal Error)"},
    {"gpu_revoked", 4,
     "Ignored (for causing prior/excessive GPU errors) "
     "(00000004:kIOGPUCommandBufferCallbackErrorSubmissionsIgnored)"},
    {"gpu_permission", 7,
     "Insufficient Permission (to submit GPU work from background) "
     "(00000006:kIOGPUCommandBufferCallbackErrorBackgroundExecutionNotPermitted)"},
    {"gpu_removed", 11, "The device has been removed"}};

// One GPU, which runs one command at a time. A queue's commands keep their order;
// with schedule=random those of several queues are interleaved, as on a Mac.
std::mutex gpu;
std::mutex queues_mu;
std::vector<CommandQueue*> queues;

// below returns the next number, less than its argument, of a sequence that the seed
// determines.
uint64_t below(uint64_t n) {
  static std::mt19937_64 sequence(settings().seed);
  return sequence() % n;
}

std::vector<CommandQueue*> busy_queues() {
  std::lock_guard<std::mutex> g(queues_mu);
  std::vector<CommandQueue*> out;
  for (CommandQueue* q : queues)
    if (q->has_work()) out.push_back(q);
  return out;
}

CommandQueue* any_queue() {
  std::vector<CommandQueue*> busy = busy_queues();
  return busy.empty() ? nullptr : busy[below(busy.size())];
}

void run(CommandQueue* queue, CommandBuffer* last) {
  while (queue->has_work() && !(last && last->status >= kCompleted))
    (settings().schedule == "random" ? any_queue() : queue)->step();
}

bool same_memory(const Buffer* a, const Buffer* b) {
  return a->memory < b->memory + b->length && b->memory < a->memory + a->length;
}

std::vector<Access> all_accesses(const CommandBuffer* b) {
  std::vector<Access> out;
  for (const Command& c : b->commands)
    for (Access& a : c.accesses()) out.push_back(std::move(a));
  return out;
}

// conflict finds memory that two command buffers use and that one of them writes.
const Buffer* conflict(const std::vector<Access>& a, const CommandBuffer* b) {
  for (const Access& y : all_accesses(b))
    for (const Access& x : a)
      if ((x.writes || y.writes) && same_memory(x.buffer.get(), y.buffer.get()))
        return x.buffer.get();
  return nullptr;
}

// check_overlap reports conflicts with uncompleted work of other queues, which may
// run at the same time.
void check_overlap(CommandBuffer* b, const CommandQueue* queue) {
  std::vector<Access> accesses = all_accesses(b);
  for (CommandQueue* other : busy_queues()) {
    if (other == queue) continue;
    std::lock_guard<std::mutex> g(other->mu);
    for (const Owned<CommandBuffer>& o : other->committed)
      if (const Buffer* shared = conflict(accesses, o.get()))
        b->fail("commit: work of another queue uses the buffer at " +
                std::to_string(reinterpret_cast<uintptr_t>(shared->memory)) +
                " too, one of the two writes it, and nobody has waited");
  }
}

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

std::vector<Access> Command::accesses() const {
  if (!dispatch) return host_accesses;
  const std::vector<Binding>& bindings = dispatch->bindings;
  std::vector<Access> out;
  for (const Argument& a : dispatch->pipeline->kernel->arguments)
    if (a.kind == "buffer" && bindings[static_cast<size_t>(a.index)].buffer)
      out.push_back({bindings[static_cast<size_t>(a.index)].buffer, a.space == 1});
  return out;
}

Reachable::Reachable(std::vector<Access> accesses) : accesses_(std::move(accesses)) {
  for (const Access& a : accesses_)
    if (a.buffer->hidden) mprotect(a.buffer->memory, a.buffer->mapped, PROT_READ | PROT_WRITE);
}

Reachable::~Reachable() {
  for (const Access& a : accesses_)
    if (a.buffer->hidden) mprotect(a.buffer->memory, a.buffer->mapped, PROT_NONE);
}

// run_host does torch's work on a stream, which defines the memory that it writes.
static std::string run_host(const Command& c) {
  c.host();
  for (const Access& a : c.host_accesses)
    if (a.writes) a.buffer->undefined = false;
  return "";
}

bool CommandBuffer::step() {
  if (!next) start = now();
  if (failure.empty() && next < commands.size()) {
    const Command& c = commands[next++];
    for (const GpuFault& f : gpu_faults)
      if (c.dispatch && failure.empty() && injected(f.name)) failure = f.text, code = f.code;
    if (failure.empty()) {
      Reachable open(c.accesses());
      failure = c.dispatch ? run_dispatch(*c.dispatch) : run_host(c);
    }
    if (failure.empty() && next < commands.size()) return true;
  }
  commands.clear();
  end = now();
  if (!failure.empty()) {
    Error* e = make_error("MTLCommandBufferErrorDomain", code, failure);
    error = Owned<Error>(e);
    release(e);
  }
  status = failure.empty() ? kCompleted : kError;
  return false;
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
  bool random = settings().schedule == "random", lazy = settings().schedule == "lazy";
  std::unique_lock<std::mutex> one(gpu, std::defer_lock);
  if (!lazy) one.lock();
  if (random) check_overlap(b, this);
  b->status = kCommitted;
  unfinished++;
  {
    std::lock_guard<std::mutex> g(mu);
    committed.emplace_back(b);
  }
  if (!lazy && !random) run(this, b);
  if (random)  // the GPU has done part of the work before anybody waits
    for (uint64_t n = below(4); n > 0; n--)
      if (CommandQueue* q = any_queue()) q->step();
}

bool CommandQueue::has_work() {
  std::lock_guard<std::mutex> g(mu);
  return !committed.empty();
}

void CommandQueue::step() {
  Owned<CommandBuffer> b;
  {
    std::lock_guard<std::mutex> g(mu);
    b = committed.front();
  }
  if (b->step()) return;
  unfinished--;
  std::lock_guard<std::mutex> g(mu);
  committed.pop_front();
}

void CommandQueue::finish(CommandBuffer* last) {
  std::lock_guard<std::mutex> one(gpu);
  run(this, last);
}

CommandQueue::~CommandQueue() {
  std::lock_guard<std::mutex> g(queues_mu);
  queues.erase(std::find(queues.begin(), queues.end(), this));
}

CommandQueue* make_queue() {
  if (injected("queue")) return nullptr;
  auto* q = make<CommandQueue>(*find_class("SimCommandQueue"));
  std::lock_guard<std::mutex> g(queues_mu);
  queues.push_back(q);
  return q;
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
