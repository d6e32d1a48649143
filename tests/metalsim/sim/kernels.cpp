// SPDX-License-Identifier: MIT
#include "kernels.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "findings.h"
#include "metalsim.h"

extern char** environ;

namespace sim {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  std::stringstream s;
  s << f.rdbuf();
  return s.str();
}

// GOARCH of the processor that kernels run on; mslc may be built for another one.
#if defined(__aarch64__)
constexpr const char* kProcessor = "arm64";
#else
constexpr const char* kProcessor = "amd64";
#endif

// 128 bits of FNV-1a, as two halves with different offsets.
std::string hash(const std::string& s) {
  uint64_t a = 0xcbf29ce484222325, b = 0x84222325cbf29ce4;
  for (unsigned char c : s) {
    a = (a ^ c) * 0x100000001b3;
    b = (b ^ c) * 0x10000000233;
  }
  char out[33];
  snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(a),
           static_cast<unsigned long long>(b));
  return out;
}

const std::string& compiler() {
  static const std::string path = [] {
    if (!settings().mslc.empty()) return settings().mslc;
    Dl_info info;
    dladdr(reinterpret_cast<void*>(&metalsim_set), &info);
    std::string so = info.dli_fname;
    return so.substr(0, so.rfind('/') + 1) + "mslc";
  }();
  return path;
}

const std::string& compiler_hash() {
  static const std::string h = hash(read_file(compiler()));
  return h;
}

std::string cache_dir() {
  const char* d = getenv("METALSIM_CACHE");
  std::string dir = d && *d ? d : "";
  if (dir.empty()) {
    const char* x = getenv("XDG_CACHE_HOME");
    const char* home = getenv("HOME");
    dir = (x && *x ? std::string(x) : std::string(home ? home : "/tmp") + "/.cache") +
          "/natten-metalsim";
  }
  mkdir(dir.c_str(), 0755);
  return dir;
}

// run starts the compiler with its outputs in files; -1: it could not be started.
int run(std::vector<std::string> args, const std::string& out, const std::string& err) {
  std::vector<char*> argv{const_cast<char*>(compiler().c_str())};
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  pid_t pid;
  int rc = posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (rc != 0) return -1;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// parse reads mslc's description of a library.
std::shared_ptr<Module> parse(const std::string& description) {
  auto m = std::make_shared<Module>();
  std::stringstream in(description);
  for (std::string line; std::getline(in, line);) {
    std::stringstream l(line);
    std::string what;
    l >> what;
    if (what == "so") {
      l >> m->so;
    } else if (what == "kernel") {
      Kernel k;
      l >> k.index >> k.max_threads >> k.name;
      m->kernels.push_back(k);
    } else if (what == "arg") {
      Argument a;
      l >> a.index >> a.kind >> a.name >> std::ws;
      std::getline(l, a.type);
      m->kernels.back().arguments.push_back(a);
    } else if (what == "warning") {
      m->warnings.push_back(line.substr(8));
    }
  }
  return m;
}

bool load(Module* m, std::string* err) {
  void* h = dlopen(m->so.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!h) {
    *err = dlerror();
    return false;
  }
  m->run = reinterpret_cast<decltype(m->run)>(dlsym(h, "msl_run"));
  m->flush = reinterpret_cast<decltype(m->flush)>(dlsym(h, "msl_profile_flush"));
  auto describe =
      reinterpret_cast<void (*)(uint32_t, uint32_t, uint32_t*)>(dlsym(h, "msl_argdesc"));
  auto function = reinterpret_cast<char* (*)(uint32_t)>(dlsym(h, "msl_function"));
  auto static_memory = reinterpret_cast<uint32_t (*)(char*)>(dlsym(h, "msl_static_memory"));
  if (!m->run || !describe || !function || !static_memory) {
    *err = m->so + " lacks a part of the executor";
    return false;
  }
  for (Kernel& k : m->kernels) {
    k.threadgroup_memory = static_memory(function(k.index));
    for (size_t i = 0; i < k.arguments.size(); i++) {
      uint32_t d[4] = {};
      describe(k.index, static_cast<uint32_t>(i), d);
      Argument& a = k.arguments[i];
      a.space = d[0], a.reference = d[1] != 0, a.size = d[2], a.align = d[3];
    }
  }
  return true;
}

// build runs mslc with options.
std::string build(const std::string& source, std::vector<std::string> options,
                  const std::string& base, std::string* err) {
  std::string unique = base + "." + std::to_string(getpid());
  std::string text = unique + ".metal", out = unique + ".out", log = unique + ".err";
  std::ofstream(text, std::ios::binary) << source;
  options.push_back(text);
  int rc = run(std::move(options), out, log);
  if (rc == 0) {
    rename(out.c_str(), (base + ".desc").c_str());
    count(kCompiled);
  } else if (rc < 0) {
    *err = "metalsim: cannot run the kernel compiler " + compiler();
  } else {
    *err = read_file(log);
  }
  for (const std::string& f : {text, out, log}) unlink(f.c_str());
  return rc == 0 ? read_file(base + ".desc") : "";
}

}  // namespace

const Kernel* Module::find(const std::string& name) const {
  for (const Kernel& k : kernels)
    if (k.name == name) return &k;
  return nullptr;
}

std::string Module::symbolize(const std::string& message) const {
  if (message.find("@{") == std::string::npos) return message;
  std::string out = cache_dir() + "/symbols." + std::to_string(getpid()), log = out + ".err";
  int rc = sim::run({"-emit", "symbols", "-so", so, message}, out, log);
  std::string text = rc == 0 ? read_file(out) : message;
  unlink(out.c_str());
  unlink(log.c_str());
  return text;
}

std::shared_ptr<Module> compile(const std::string& source, const Dialect& dialect,
                                std::string* err) {
  static std::mutex mu;
  static auto* modules = new std::map<std::string, std::shared_ptr<Module>>;
  const std::string& mode = settings().mode;
  std::string language =
      std::to_string(dialect.language >> 16) + "." + std::to_string(dialect.language & 0xffff);
  static const char* const maths[] = {"safe", "relaxed", "fast"};
  if (dialect.math < 0 || dialect.math > 2) {
    *err =
        "program_source: error: invalid value '" + std::to_string(dialect.math) + "' of mathMode";
    return nullptr;
  }
  std::vector<std::string> options{"-emit", "so",   "-arch",  kProcessor, "-mode",
                                   mode,    "-std", language, "-math",    maths[dialect.math]};
  std::string key = compiler_hash();
  for (const std::string& o : options) key += o + " ";
  key = hash(key + source);
  std::lock_guard<std::mutex> g(mu);
  auto it = modules->find(key);
  if (it != modules->end()) return it->second;
  std::string base = cache_dir() + "/" + key;
  std::string description = read_file(base + ".desc");
  if (description.empty() || access(parse(description)->so.c_str(), R_OK) != 0) {
    description = build(source, options, base, err);
    if (description.empty()) return nullptr;
  }
  std::shared_ptr<Module> m = parse(description);
  m->source = source;
  m->key = key;
  if (!load(m.get(), err)) return nullptr;
  for (const std::string& warning : m->warnings) finding("source", "%s", warning.c_str());
  (*modules)[key] = m;
  return m;
}

}  // namespace sim
