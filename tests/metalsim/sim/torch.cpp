// SPDX-License-Identifier: MIT
//
// torch.cpp - torch's MPS streams: the C++ symbols and C shims that native
// extensions use, and torch's own operations on a stream for tests.
#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <map>

#include "export.h"
#include "findings.h"
#include "metalsim.h"
#include "torch.h"

using namespace sim;

using at::mps::MPSStream;
using at::mps::SyncType;

namespace {

constexpr int kStreams = 32;
thread_local int current_stream = 0;

std::mutex streams_mu;
MPSStream* streams[kStreams];

MPSStream* stream(int i) {
  if (i < 0 || i >= kStreams) {
    finding("stream", "stream %d (want 0 to %d)", i, kStreams - 1);
    i = 0;
  }
  std::lock_guard<std::mutex> g(streams_mu);
  if (!streams[i]) streams[i] = new MPSStream(i);
  return streams[i];
}

// Up to torch 2.9 there is one stream, and get_command_buffer does not close an open
// encoder.
bool old_torch() { return settings().torch == "2.8" || settings().torch == "2.9"; }

}  // namespace

namespace at::mps {

MPSStream::MPSStream(int index) : index_(index), commands_(make_queue()) {
  queue = make_serial_queue(index ? "metal gpu stream of the pool" : "metal gpu stream");
  queue->after_block = [this] {
    if (settings().schedule == "eager") synchronize(SyncType::COMMIT_AND_WAIT);
  };
}

void MPSStream::require_queue(const char* what) {
  if (!on_queue(queue)) finding("stream", "%s called off stream %d's queue", what, index_);
}

CommandBuffer* MPSStream::current() {
  if (!buffer_) {
    buffer_ = make_command_buffer(commands_);
    buffer_->torch = true;
  }
  return buffer_;
}

Object* MPSStream::commandBuffer() {
  require_queue("MPSStream::commandBuffer()");
  return current();
}

Object* MPSStream::commandEncoder() {
  require_queue("MPSStream::commandEncoder()");
  if (!encoder_) {
    encoder_ = make_encoder(current(), settings().dispatch_type == "concurrent");
    if (encoder_) encoder_->torch = true;
  }
  return encoder_;
}

void MPSStream::endKernelCoalescing() {
  if (!encoder_) return;
  encoder_->end();
  release(encoder_);
  encoder_ = nullptr;
}

void MPSStream::commit() {
  if (!buffer_) return;
  CommandBuffer* b = buffer_;
  buffer_ = nullptr;
  commands_->commit(b);
  release(b);
}

void MPSStream::synchronize(SyncType type) {
  if (type == SyncType::NONE) return;
  endKernelCoalescing();
  commit();
  if (type == SyncType::COMMIT_AND_WAIT) {
    count(kWaits);
    commands_->finish(nullptr);
  }
}

MPSStream* getDefaultMPSStream() { return ::stream(0); }
MPSStream* getCurrentMPSStream() { return ::stream(old_torch() ? 0 : current_stream); }

}  // namespace at::mps

namespace torch::mps {

METALSIM_EXPORTED void* get_command_buffer() {
  MPSStream* s = stream(0);
  s->require_queue("torch::mps::get_command_buffer()");
  if (!old_torch()) s->endKernelCoalescing();
  return s->current();
}
METALSIM_EXPORTED void* get_dispatch_queue() { return stream(0)->queue; }
METALSIM_EXPORTED void commit() { stream(0)->synchronize(SyncType::COMMIT); }
METALSIM_EXPORTED void synchronize() { stream(0)->synchronize(SyncType::COMMIT_AND_WAIT); }

}  // namespace torch::mps

// ---- operations of torch on the stream ----

namespace {

// append adds work at the end of a stream.
void append(MPSStream* s, std::vector<Access> accesses, std::function<void()> work) {
  Command c;
  c.host = std::move(work);
  c.host_accesses = std::move(accesses);
  s->current()->commands.push_back(std::move(c));
}

// wait_for runs on the stream's queue, as threads may share the stream.
void wait_for(int index) {
  MPSStream* s = stream(index);
  run_on(s->queue, [&] { s->synchronize(SyncType::COMMIT_AND_WAIT); });
}

// enqueue is a blit: torch ends its compute encoder first.
void enqueue(int index, std::vector<Access> accesses, std::function<void()> work) {
  MPSStream* s = stream(index);
  run_on(s->queue, [&] {
    s->endKernelCoalescing();
    append(s, std::move(accesses), std::move(work));
  });
}

// range returns the buffer if [offset, offset + length) lies in it.
Owned<Buffer> range(uint64_t handle, size_t offset, size_t length) {
  auto* o = reinterpret_cast<Object*>(handle);
  auto* b = is_object(o) ? dynamic_cast<Buffer*>(o) : nullptr;
  if (b && offset <= b->length && length <= b->length - offset) return Owned<Buffer>(b);
  finding("stream", "torch op: bytes %zu to %zu of %p are in no buffer", offset, offset + length,
          static_cast<void*>(o));
  return Owned<Buffer>();
}

std::mutex registered_mu;
std::map<char*, Owned<Buffer>> registered;  // by first byte

void forget(char* from, char* to) {
  auto it = registered.upper_bound(from);
  if (it != registered.begin() && std::prev(it)->first + std::prev(it)->second->length > from) --it;
  while (it != registered.end() && it->first < to) it = registered.erase(it);
}

}  // namespace

API uint64_t metalsim_register(void* memory, size_t length) {
  if (!length) return 0;
  char* p = static_cast<char*>(memory);
  std::lock_guard<std::mutex> g(registered_mu);
  auto it = registered.find(p);
  if (it != registered.end() && it->second->length == length)
    return reinterpret_cast<uint64_t>(it->second.get());
  forget(p, p + length);
  Buffer* b = wrap_memory(p, length);
  b->options = kStoragePrivate;  // like torch's tensors
  registered[p] = Owned<Buffer>(b);
  release(b);
  return reinterpret_cast<uint64_t>(b);
}

API void metalsim_unregister(void* memory) {
  std::lock_guard<std::mutex> g(registered_mu);
  registered.erase(static_cast<char*>(memory));
}

// ---- memory of torch's allocator ----

namespace {

// Freed buffers by size; the one freed last is reused first.
std::mutex pool_mu;
std::map<uint64_t, std::vector<Owned<Buffer>>> pool;

}  // namespace

API uint64_t metalsim_allocate(size_t length) {
  Buffer* b = nullptr;
  {
    std::lock_guard<std::mutex> g(pool_mu);
    auto it = pool.find(length);
    if (it != pool.end() && !it->second.empty()) {
      b = it->second.back().get();
      retain(b);
      it->second.pop_back();
    }
  }
  if (!b) {
    b = make_buffer(length, kStoragePrivate);
    if (!b) return 0;
    b->hidden = true;
    mprotect(b->memory, b->mapped, PROT_NONE);
    std::lock_guard<std::mutex> g(registered_mu);
    registered[b->memory] = Owned<Buffer>(b);
  } else {  // undefined for work encoded from here on; older work may still read it
    Owned<Buffer> again(b);
    MPSStream* s = at::mps::getCurrentMPSStream();
    run_on(s->queue, [&] { append(s, {{again, false}}, [=] { again->undefined = true; }); });
  }
  return reinterpret_cast<uint64_t>(b);
}

API void* metalsim_address(uint64_t handle) {
  Owned<Buffer> b = range(handle, 0, 0);
  return b ? b->memory : nullptr;
}

API void metalsim_free(uint64_t handle) {
  Owned<Buffer> b = range(handle, 0, 0);
  if (!b) return;
  std::lock_guard<std::mutex> g(pool_mu);
  pool[b->length].push_back(b);
  release(b.get());
}

API void metalsim_stream_read(int index, uint64_t handle, size_t offset, void* to, size_t length) {
  Owned<Buffer> b = range(handle, offset, length);
  if (!b) return;
  enqueue(index, {{b, false}}, [=] { memcpy(to, b->memory + offset, length); });
  wait_for(index);
}

API void metalsim_undefined(uint64_t handle) {
  if (Owned<Buffer> b = range(handle, 0, 0)) b->undefined = true;
}

API uint64_t metalsim_unfinished(void) {
  std::lock_guard<std::mutex> g(streams_mu);
  uint64_t n = unfinished_work();
  for (MPSStream* s : streams) n += s && s->has_work();
  return n;
}

API void metalsim_stream_use(int index) { current_stream = index; }
API int metalsim_stream_current(void) { return current_stream; }
API void metalsim_stream_synchronize(int index) { wait_for(index); }

API void metalsim_stream_fill(int index, uint64_t handle, size_t offset, size_t length,
                              uint8_t value) {
  Owned<Buffer> b = range(handle, offset, length);
  if (!b) return;
  count(kFills);
  enqueue(index, {{b, true}}, [=] { memset(b->memory + offset, value, length); });
}

API void metalsim_stream_write(int index, uint64_t handle, size_t offset, const void* from,
                               size_t length) {
  Owned<Buffer> b = range(handle, offset, length);
  if (!b) return;
  count(kWrites);
  std::string bytes(static_cast<const char*>(from), length);
  enqueue(index, {{b, true}}, [=] { memcpy(b->memory + offset, bytes.data(), length); });
}

API void metalsim_stream_copy(int index, uint64_t to, size_t to_offset, uint64_t from,
                              size_t from_offset, size_t length) {
  Owned<Buffer> d = range(to, to_offset, length), s = range(from, from_offset, length);
  if (!d || !s) return;
  count(kCopies);
  enqueue(index, {{d, true}, {s, false}},
          [=] { memmove(d->memory + to_offset, s->memory + from_offset, length); });
}
