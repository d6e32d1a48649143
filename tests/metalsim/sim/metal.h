// SPDX-License-Identifier: MIT
//
// metal.h - Metal's compute objects.
#ifndef METALSIM_METAL_H
#define METALSIM_METAL_H

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "foundation.h"
#include "kernels.h"
#include "object.h"

namespace sim {

struct Device : Object {
  Owned<String> name;
  int number = 0;  // from 1; also its registryID
};

struct CompileOptions : Object {
  uint64_t language = 0;  // 0: not set
  int64_t math = -1;      // -1: not set
};

struct Library : Object {
  std::shared_ptr<Module> module;
};

struct Function : Object {
  std::shared_ptr<Module> module;
  const Kernel* kernel = nullptr;
  Owned<String> name;
};

struct PipelineDescriptor : Object {
  Owned<Function> function;
  uint64_t max_threads = 0;
  Owned<String> label;
};

struct Pipeline : Object {
  std::shared_ptr<Module> module;
  const Kernel* kernel = nullptr;
  uint64_t max_threads = 1024;
};

constexpr uint64_t kStoragePrivate = 0x20;
constexpr uint64_t kMaxThreadgroupMemory = 32 << 10;
// Bytes passed by value lie between margins, in which an overrun is detected.
constexpr size_t kMargin = 64;

struct Buffer : Object {
  char* memory = nullptr;
  uint64_t length = 0, options = 0;
  size_t mapped = 0;       // bytes to unmap at memory; 0: owned by somebody else
  bool undefined = false;  // nothing has been stored yet
  bool hidden = false;     // memory that the host can reach only while the GPU runs
  ~Buffer() override;
};

// Access says how a command uses a buffer.
struct Access {
  Owned<Buffer> buffer;
  bool writes;
};

// Reachable makes hidden buffers accessible to the GPU during its lifetime.
class Reachable {
 public:
  explicit Reachable(std::vector<Access> accesses);
  ~Reachable();
  Reachable(const Reachable&) = delete;
  Reachable& operator=(const Reachable&) = delete;

 private:
  std::vector<Access> accesses_;
};

// What is bound at an index: a buffer with an offset, or bytes.
struct Binding {
  Owned<Buffer> buffer;
  uint64_t offset = 0;
  std::shared_ptr<std::vector<uint8_t>> bytes;
  explicit operator bool() const { return buffer || bytes; }
};

struct Size3 {
  uint64_t x, y, z;
  uint64_t count() const { return x * y * z; }
};

struct Dispatch {
  Owned<Pipeline> pipeline;
  std::vector<Binding> bindings;             // by index
  std::vector<uint32_t> threadgroup_memory;  // bytes, by index
  Size3 threads{}, group{};
};

// A command is a dispatch or an operation of torch on the stream.
struct Command {
  std::unique_ptr<Dispatch> dispatch;
  std::function<void()> host;
  std::vector<Access> host_accesses;
  // accesses are found when the command runs, so that encoding does not pay for them.
  std::vector<Access> accesses() const;
};

enum Status : uint64_t { kNotEnqueued = 0, kCommitted = 2, kCompleted = 4, kError = 5 };

struct CommandQueue;
struct Encoder;

struct CommandBuffer : Object {
  Owned<CommandQueue> queue;
  std::vector<Command> commands;
  Status status = kNotEnqueued;
  std::string failure;  // the first validation fault
  size_t faults = 0;    // number of validation faults
  Owned<Error> error;
  Encoder* open = nullptr;
  bool torch = false;  // belongs to a stream: only torch may commit it
  double start = 0, end = 0;
  size_t next = 0;   // the command that runs next
  int64_t code = 1;  // code of the error

  // fail records a validation finding; the buffer will end in error.
  void fail(const std::string& text);
  // step runs the next command; false: it was the last, and the buffer is complete.
  bool step();
  ~CommandBuffer() override;
};

struct CommandQueue : Object {
  std::mutex mu;
  std::deque<Owned<CommandBuffer>> committed;
  void commit(CommandBuffer* b);
  void finish(CommandBuffer* last);  // runs all up to last; null: all
  bool has_work();
  void step();  // runs a command of the first buffer that is not complete
  ~CommandQueue() override;
};

struct Encoder : Object {
  Owned<CommandBuffer> buffer;
  Owned<Pipeline> pipeline;
  std::vector<Binding> bindings;
  std::vector<uint32_t> threadgroup_memory;
  bool ended = false, torch = false, concurrent = false;
  std::set<const void*> read, written;  // since the last barrier, if concurrent

  void set_buffer(Object* b, uint64_t offset, uint64_t index);
  void set_bytes(const void* p, uint64_t n, uint64_t index);
  void dispatch(Size3 threads, Size3 group);
  void end();
  ~Encoder() override;

 private:
  Binding& bind(uint64_t index);
  bool usable(const char* what);
  void check_arguments(Size3 group);
  void check_hazards();
};

// device returns the GPU with a number; 0 is the last. If devices are wrapped, the object is
// autoreleased.
Device* device(int number = 0);
CommandQueue* make_queue();                                // +1
CommandBuffer* make_command_buffer(CommandQueue* q);       // +1
Encoder* make_encoder(CommandBuffer* b, bool concurrent);  // +1; null with a finding
Buffer* make_buffer(uint64_t length, uint64_t options);    // +1
Buffer* wrap_memory(void* p, uint64_t length);             // +1, no rules
// make_library compiles; null with the compiler's text in err. +1.
Library* make_library(const std::string& source, const Dialect& dialect, std::string* err);
// make_pipeline: null with the reason in err. +1.
Pipeline* make_pipeline(const Function* f, uint64_t max_threads, std::string* err);
Function* make_function(Library* l, const std::string& name);  // +1 or null

// run_dispatch executes a dispatch; returns an error text or "".
std::string run_dispatch(const Dispatch& d);

uint64_t unfinished_work();  // committed command buffers that have not run

void define_metal();
void define_commands();
void define_encoder();

}  // namespace sim

#endif
