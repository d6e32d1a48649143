// SPDX-License-Identifier: MIT
#include "findings.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <set>
#include <sstream>

#include "export.h"
#include "metalsim.h"
#include "object.h"
#include "metal.h"
#include "symbols.h"

namespace sim {

const char* const stat_names[kStatCount] = {"dispatches",
                                            "command_buffers",
                                            "commits",
                                            "waits",
                                            "encoders",
                                            "buffers",
                                            "wrapped",
                                            "fills",
                                            "writes",
                                            "copies",
                                            "libraries",
                                            "compiled",
                                            "pipelines",
                                            "sends",
                                            "accesses",
                                            "threads",
                                            "barriers",
                                            "simd_ops",
                                            "device_read",
                                            "device_written",
                                            "constant_read",
                                            "threadgroup_read",
                                            "threadgroup_written"};
std::atomic<uint64_t> stats[kStatCount];

namespace {
constexpr size_t kMost = 1000;  // largest number of findings that are kept

struct Log {
  std::mutex mu;
  std::vector<std::string> lines;
  size_t total = 0;
};
Log& log() {
  static Log* l = new Log;
  return *l;
}

std::vector<std::string> split(const std::string& s) {
  std::vector<std::string> out;
  std::stringstream in(s);
  for (std::string w; std::getline(in, w, ',');)
    if (!w.empty()) out.push_back(w);
  return out;
}

// A fault to inject: at its at-th opportunity or, if at is 0, always.
struct Fault {
  uint64_t at = 0, seen = 0;
};
std::mutex fault_mu;
std::map<std::string, Fault> faults;
const std::set<std::string> fault_names = {
    "device",     "devices",    "library",     "function",     "pipeline",    "silent",
    "buffer",     "contents",   "wrap",        "queue",        "encoder",     "command_buffer",
    "gpu",        "gpu_memory", "gpu_timeout", "gpu_internal", "gpu_revoked", "gpu_permission",
    "gpu_removed"};

std::string set_faults(const std::string& value) {
  std::map<std::string, Fault> wanted;
  for (const std::string& w : split(value)) {
    size_t at = w.find('@');
    std::string name = w.substr(0, at);
    if (!fault_names.count(name)) return "fail: no fault is called " + name;
    wanted[name].at = at == std::string::npos ? 0 : strtoull(w.c_str() + at + 1, nullptr, 10);
  }
  std::lock_guard<std::mutex> g(fault_mu);
  faults = wanted;
  return "";
}

std::string set_hidden(const std::string& value) {
  static std::vector<std::string> now;
  for (const std::string& n : now) hide(n, false);
  now = split(value);
  for (const std::string& n : now) {
    std::string err = hide(n, true);
    if (!err.empty()) return err;
  }
  return "";
}

std::string set_torch(const std::string& value) {
  settings().torch = value;
  bool old = value == "2.8" || value == "2.9";
  return hide("aoti", old);
}

std::string one_of(std::string* to, const std::string& value, std::vector<std::string> allowed) {
  std::string list;
  for (const std::string& a : allowed) {
    if (a == value) {
      *to = value;
      return "";
    }
    list += (list.empty() ? "" : ", ") + a;
  }
  return "'" + value + "' (want " + list + ")";
}

using Setter = std::function<std::string(const std::string&)>;

template <class T>
Setter number(T* to) {
  return [to](const std::string& v) -> std::string {
    char* end;
    long n = strtol(v.c_str(), &end, 10);
    if (v.empty() || *end) return "'" + v + "' is no number";
    *to = static_cast<T>(n);
    return "";
  };
}
Setter text(std::string* to) {
  return [to](const std::string& v) { return *to = v, std::string(); };
}

const std::map<std::string, Setter>& setters() {
  Settings& s = settings();
  static const std::map<std::string, Setter> m = {
      {"mode",
       [&s](auto& v) {
         return one_of(&s.mode, v, {"checked", "fast", "fastmath", "fuzz", "coverage"});
       }},
      {"order",
       [&s](auto& v) { return one_of(&s.order, v, {"ascending", "descending", "shuffled"}); }},
      {"schedule", [&s](auto& v) { return one_of(&s.schedule, v, {"lazy", "eager", "random"}); }},
      {"dispatch_type",
       [&s](auto& v) { return one_of(&s.dispatch_type, v, {"serial", "concurrent"}); }},
      {"seed", number(&s.seed)},
      {"workers", number(&s.workers)},
      {"max_threads", number(&s.max_threads)},
      {"max_threads_for", text(&s.max_threads_for)},
      {"page_size", number(&s.page_size)},
      {"family", number(&s.family)},
      {"name", text(&s.name)},
      {"gpus", number(&s.gpus)},
      {"torch_gpu", number(&s.torch_gpu)},
      {"wrap_devices", number(&s.wrap_devices)},
      {"width", number(&s.width)},
      {"miscompile", text(&s.miscompile)},
      {"miscompile_for", text(&s.miscompile_for)},
      {"abort", number(&s.abort_on_finding)},
      {"record", text(&s.record)},
      {"report", text(&s.report)},
      {"mslc", text(&s.mslc)},
      {"torch", set_torch},
      {"hide", set_hidden},
      {"fail", set_faults}};
  return m;
}

}  // namespace

std::string finding(const char* kind, const char* format, ...) {
  char line[4096];
  va_list v;
  va_start(v, format);
  vsnprintf(line, sizeof line, format, v);
  va_end(v);
  {
    Log& l = log();
    std::lock_guard<std::mutex> g(l.mu);
    l.total++;
    if (l.lines.size() < kMost) l.lines.push_back(std::string(kind) + ": " + line);
  }
  if (settings().abort_on_finding) {
    fprintf(stderr, "metalsim: %s: %s\n", kind, line);
    abort();
  }
  return line;
}

std::vector<std::string> findings() {
  Log& l = log();
  std::lock_guard<std::mutex> g(l.mu);
  return l.lines;
}

void clear_findings() {
  Log& l = log();
  std::lock_guard<std::mutex> g(l.mu);
  l.lines.clear();
  l.total = 0;
}

Settings& settings() {
  static Settings* s = new Settings;
  return *s;
}

std::string set_option(const std::string& name, const std::string& value) {
  auto it = setters().find(name);
  if (it == setters().end()) return "no setting is called " + name;
  std::string err = it->second(value);
  return err.empty() ? "" : name + ": " + err;
}

bool injected(const char* what) {
  std::lock_guard<std::mutex> g(fault_mu);
  auto it = faults.find(what);
  if (it == faults.end()) return false;
  it->second.seen++;
  return it->second.at == 0 || it->second.at == it->second.seen;
}

std::string hide(const std::string& name, bool hidden) {
  if (name == "aoti" || name == "streams") {
    hide_symbols(name == "aoti" ? aoti_symbols : stream_symbols, hidden);
    return "";
  }
  size_t dot = name.find('.');
  auto it = classes().find(name.substr(0, dot));
  if (it != classes().end()) {
    if (dot == std::string::npos) {
      it->second->hidden = hidden;
      return "";
    }
    for (MethodTable* t : {&it->second->instance, &it->second->meta})
      if (Method* m = t->find(selector(name.c_str() + dot + 1))) {
        m->hidden = hidden;
        return "";
      }
    return "hide: no method " + name;
  }
  return hide_symbols({name}, hidden) ? "" : "hide: no symbol or class " + name;
}

std::string report() {
  std::string out;
  size_t total;
  {
    std::lock_guard<std::mutex> g(log().mu);
    total = log().total;
  }
  out += "findings: " + std::to_string(total) + "\n";
  for (const std::string& f : findings()) out += "  " + f + "\n";
  out += "live objects:\n";
  for (auto& [name, n] : live_by_class()) out += "  " + name + " " + std::to_string(n) + "\n";
  out += "committed work that nobody waited for: " + std::to_string(unfinished_work()) + "\n";
  out += "counters:\n";
  for (int i = 0; i < kStatCount; i++)
    out += std::string("  ") + stat_names[i] + " " + std::to_string(stats[i].load()) + "\n";
  return out;
}

}  // namespace sim

static size_t copy_text(const std::string& s, char* to, size_t n) {
  if (to && n) {
    size_t k = s.size() < n - 1 ? s.size() : n - 1;
    memcpy(to, s.data(), k);
    to[k] = 0;
  }
  return s.size();
}

API int metalsim_set(const char* name, const char* value, char* err, size_t n) {
  std::string e = sim::set_option(name, value);
  copy_text(e, err, n);
  return e.empty() ? 0 : -1;
}

API size_t metalsim_findings(char* text, size_t n) {
  std::string all;
  for (const std::string& f : sim::findings()) all += f + "\n";
  return copy_text(all, text, n);
}

API size_t metalsim_finding_count(void) { return sim::findings().size(); }

API void metalsim_clear(void) {
  sim::clear_findings();
  for (auto& s : sim::stats) s = 0;
}

API size_t metalsim_report(char* text, size_t n) { return copy_text(sim::report(), text, n); }

API uint64_t metalsim_stat(const char* name) {
  for (int i = 0; i < sim::kStatCount; i++)
    if (!strcmp(name, sim::stat_names[i])) return sim::stats[i];
  return UINT64_MAX;
}

API uint64_t metalsim_live(const char* name) { return sim::live_objects(name ? name : ""); }
