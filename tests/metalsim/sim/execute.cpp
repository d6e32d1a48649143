// SPDX-License-Identifier: MIT
//
// execute.cpp - runs and records one dispatch with the kernel's executor.
#include <atomic>
#include <cstdio>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include "findings.h"
#include "metal.h"

namespace sim {
namespace {

struct Bound {
  const Argument* argument;
  const Binding* binding;
  uint8_t* base;
  uint64_t offset, length;
};

std::vector<Bound> bound(const Dispatch& d) {
  std::vector<Bound> out;
  for (const Argument& a : d.pipeline->kernel->arguments) {
    if (a.kind != "buffer") continue;
    const Binding& b = d.bindings[static_cast<size_t>(a.index)];
    if (b.bytes)
      out.push_back({&a, &b, b.bytes->data() + kMargin, 0, b.bytes->size() - 2 * kMargin});
    else
      out.push_back(
          {&a, &b, reinterpret_cast<uint8_t*>(b.buffer->memory), b.offset, b.buffer->length});
  }
  return out;
}

uint32_t launch_flags() {
  const Settings& s = settings();
  uint32_t f = MSL_FTZ;
  if (s.mode != "checked") f |= MSL_NOCHECK;
  if (s.order == "descending") f |= MSL_REVERSE;
  if (s.order == "shuffled") f |= MSL_SHUFFLE;
  return f;
}

void add_stats(const msl_stats& s) {
  count(kThreads, s.threads);
  count(kBarriers, s.barriers);
  count(kSimdOps, s.simdops);
  count(kAccesses, s.accesses);
  count(kDeviceRead, s.device_read);
  count(kDeviceWritten, s.device_written);
  count(kConstantRead, s.constant_read);
  count(kThreadgroupRead, s.threadgroup_read);
  count(kThreadgroupWritten, s.threadgroup_written);
}

// A recording describes a dispatch for gpu/replay.py: a line of JSON, then each
// buffer's bytes before and after.
class Recording {
 public:
  Recording(const Dispatch& d, const std::vector<Bound>& b) : d_(d), b_(b) {
    for (size_t i = 0; i < b.size(); i++) {
      size_t id = i;
      while (id > 0 && b[id].base != b[i].base) id--;
      if (b[id].base != b[i].base) id = i;
      id_.push_back(id);
      if (id == i) before_.emplace_back(b[i].base, b[i].base + b[i].length);
    }
  }

  void write() const {
    static std::atomic<int> n{0};
    const std::string& dir = settings().record;
    mkdir(dir.c_str(), 0755);
    std::string source = dir + "/" + d_.pipeline->module->key + ".metal";
    std::ofstream(source, std::ios::binary) << d_.pipeline->module->source;
    char number[32];
    snprintf(number, sizeof number, "/%d-%05d-", static_cast<int>(getpid()), n++);
    std::ofstream f(dir + number + d_.pipeline->kernel->name.substr(0, 150) + ".case",
                    std::ios::binary);
    f << header() << "\n";
    for (size_t i = 0, k = 0; i < b_.size(); i++) {
      if (id_[i] != i) continue;
      f.write(reinterpret_cast<const char*>(before_[k++].data()),
              static_cast<std::streamsize>(b_[i].length));
      f.write(reinterpret_cast<const char*>(b_[i].base),
              static_cast<std::streamsize>(b_[i].length));
    }
  }

 private:
  static std::string size(Size3 s) {
    return "[" + std::to_string(s.x) + "," + std::to_string(s.y) + "," + std::to_string(s.z) + "]";
  }
  std::string header() const {
    const Kernel& k = *d_.pipeline->kernel;
    std::string out = "{\"name\":\"" + k.name + "\",\"unit\":\"" + d_.pipeline->module->key +
                      "\",\"kernel\":" + std::to_string(k.index) + ",\"grid\":" + size(d_.threads) +
                      ",\"group\":" + size(d_.group) + ",\"buffers\":[";
    for (size_t i = 0; i < b_.size(); i++) {
      const Argument& a = *b_[i].argument;
      out += std::string(i ? "," : "") + "{\"index\":" + std::to_string(a.index) +
             ",\"offset\":" + std::to_string(b_[i].offset) +
             ",\"length\":" + std::to_string(b_[i].length) + ",\"type\":\"" + a.type +
             "\",\"writes\":" + (a.space == 1 ? "true" : "false") +
             ",\"id\":" + std::to_string(id_[i]) + ",\"element\":" + std::to_string(a.size) + "}";
    }
    return out + "]}";
  }

  const Dispatch& d_;
  const std::vector<Bound>& b_;
  std::vector<size_t> id_;  // index of the first binding of the same memory
  std::vector<std::vector<uint8_t>> before_;
};

}  // namespace

std::string run_dispatch(const Dispatch& d) {
  const Kernel& k = *d.pipeline->kernel;
  std::vector<Bound> args = bound(d);
  std::vector<msl_buf> bufs;
  for (const Bound& b : args) {
    uint32_t flags = b.argument->space == 3 ? MSL_CONSTANT : 0;
    if (b.binding->buffer && b.binding->buffer->undefined) flags |= MSL_UNDEFINED;
    bufs.push_back({static_cast<uint32_t>(b.argument->index), flags, b.base + b.offset, b.base,
                    b.length, b.argument->align, 0});
  }
  std::vector<msl_tgm> memory;
  for (size_t i = 0; i < d.threadgroup_memory.size(); i++)
    if (d.threadgroup_memory[i])
      memory.push_back({static_cast<uint32_t>(i), d.threadgroup_memory[i]});
  msl_launch l{};
  l.kernel = k.index;
  const uint64_t grid[3] = {d.threads.x, d.threads.y, d.threads.z},
                 group[3] = {d.group.x, d.group.y, d.group.z};
  for (int i = 0; i < 3; i++) {
    l.grid[i] = static_cast<uint32_t>(grid[i]);
    l.tg[i] = static_cast<uint32_t>(group[i]);
  }
  l.flags = launch_flags();
  l.seed = settings().seed;
  l.workers = settings().workers;
  l.nbuf = static_cast<uint32_t>(bufs.size());
  l.ntgm = static_cast<uint32_t>(memory.size());
  l.buf = bufs.data();
  l.tgm = memory.data();
  static msl_pool pool;
  l.pool = &pool;
  std::unique_ptr<Recording> recording;
  if (!settings().record.empty()) recording = std::make_unique<Recording>(d, args);
  char err[2048] = "";
  msl_stats stats{};
  int rc = d.pipeline->module->run(&l, err, sizeof err, &stats);
  add_stats(stats);
  if (d.pipeline->module->flush) d.pipeline->module->flush();
  for (const Bound& b : args)
    if (b.argument->space == 1 && b.binding->buffer) b.binding->buffer->undefined = false;
  if (rc != 0)
    return finding("kernel", "%s: %s", k.name.c_str(), d.pipeline->module->symbolize(err).c_str());
  if (recording) recording->write();
  return "";
}

}  // namespace sim
