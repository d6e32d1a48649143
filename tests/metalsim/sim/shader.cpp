// SPDX-License-Identifier: MIT
//
// shader.cpp - torch's MetalShaderLibrary, which torch.mps.compile_shader and the
// AOTInductor C shims use.
#include <cstring>

#include "export.h"
#include "findings.h"
#include "metalsim.h"
#include "torch.h"

using namespace sim;

namespace {

enum TorchError { kOk = 0, kFailure = 1 };

struct ShaderFunction : Object {
  Owned<Pipeline> pipeline;
  Encoder* encoder = nullptr;  // between start_encoding and the end of the block
};

void put(const std::string& text, char* err, size_t n) {
  if (err && n) snprintf(err, n, "%s", text.c_str());
}

Pipeline* pipeline_of(Library* l, const char* kernel, std::string* err) {
  Function* f = make_function(l, kernel);
  if (!f) {
    *err = std::string("no kernel ") + kernel;
    return nullptr;
  }
  Pipeline* p = make_pipeline(f, 0, err);
  release(f);
  return p;
}

// in_block runs work on the current stream's queue with an autorelease pool.
void in_block(const std::function<void()>& work) {
  run_on(at::mps::getCurrentMPSStream()->queue, [&] {
    void* pool = pool_push();
    work();
    pool_pop(pool);
  });
}

Encoder* current_encoder() {
  return static_cast<Encoder*>(at::mps::getCurrentMPSStream()->commandEncoder());
}

template <class T>
T* checked(void* handle, const char* what) {
  auto* o = static_cast<Object*>(handle);
  T* t = is_object(o) ? dynamic_cast<T*>(o) : nullptr;
  if (!t)
    finding("stream", "%s: %p is no handle of this kind%s", what, handle,
            explain_object(handle).c_str());
  return t;
}

}  // namespace

namespace sim {
void define_shader() { define_class("SimShaderFunction"); }
}  // namespace sim

API uint64_t metalsim_shader(const char* source, char* err, size_t n) {
  std::string text;
  Library* l = make_library(source, Dialect(), &text);
  if (!l) put(text, err, n);
  return reinterpret_cast<uint64_t>(l);
}

API void metalsim_shader_release(uint64_t shader) { release(reinterpret_cast<Object*>(shader)); }

API uint64_t metalsim_shader_threads(uint64_t shader, const char* kernel) {
  auto* l = checked<Library>(reinterpret_cast<void*>(shader), "metalsim_shader_threads");
  std::string text;
  Pipeline* p = l ? pipeline_of(l, kernel, &text) : nullptr;
  if (!p) return 0;
  uint64_t threads = p->max_threads;
  release(p);
  return threads;
}

API int metalsim_shader_launch(uint64_t shader, const char* kernel,
                               const metalsim_argument* arguments, size_t count,
                               const uint64_t threads[3], const uint64_t group[3], char* err,
                               size_t n) {
  auto* l = checked<Library>(reinterpret_cast<void*>(shader), "metalsim_shader_launch");
  std::string text = "no library";
  Pipeline* p = l ? pipeline_of(l, kernel, &text) : nullptr;
  if (!p) {
    put(text, err, n);
    return -1;
  }
  size_t before = findings().size();
  in_block([&] {
    Encoder* e = current_encoder();
    e->pipeline = Owned<Pipeline>(p);
    for (size_t i = 0; i < count; i++) {
      const metalsim_argument& a = arguments[i];
      if (a.buffer)
        e->set_buffer(reinterpret_cast<Object*>(a.buffer), a.offset, i);
      else
        e->set_bytes(a.bytes, a.length, i);
    }
    e->dispatch({threads[0], threads[1], threads[2]}, {group[0], group[1], group[2]});
  });
  release(p);
  std::vector<std::string> all = findings();
  if (all.size() == before) return 0;
  put(all.back(), err, n);
  return -1;
}

API int aoti_torch_mps_create_shader_library(const char* source, Object** library) {
  std::string err;
  *library = make_library(source, Dialect(), &err);
  if (!*library) finding("stream", "aoti_torch_mps_create_shader_library: %s", err.c_str());
  return *library ? kOk : kFailure;
}

API int aoti_torch_mps_delete_shader_library(Object* library) {
  if (!checked<Library>(library, "aoti_torch_mps_delete_shader_library")) return kFailure;
  release(library);
  return kOk;
}

// In torch the function belongs to its library; here it stays until the process ends,
// like the function of a library that is kept.
API int aoti_torch_mps_get_kernel_function(Object* library, const char* kernel, Object** function) {
  auto* l = checked<Library>(library, "aoti_torch_mps_get_kernel_function");
  std::string err;
  Pipeline* p = l ? pipeline_of(l, kernel, &err) : nullptr;
  if (!p) return kFailure;
  auto* f = make<ShaderFunction>(*find_class("SimShaderFunction"));
  f->pipeline = Owned<Pipeline>(p);
  release(p);
  *function = f;
  return kOk;
}

API int aoti_torch_mps_run_command_block(Object* function, void (*callback)(Object*, void*),
                                         void* data) {
  auto* f = checked<ShaderFunction>(function, "aoti_torch_mps_run_command_block");
  if (!f) return kFailure;
  in_block([&] { callback(function, data); });
  f->encoder = nullptr;
  return kOk;
}

API int aoti_torch_mps_start_encoding(Object* function) {
  auto* f = checked<ShaderFunction>(function, "aoti_torch_mps_start_encoding");
  if (!f) return kFailure;
  f->encoder = current_encoder();
  f->encoder->pipeline = f->pipeline;
  return kOk;
}

static Encoder* encoding(Object* function, const char* what) {
  auto* f = checked<ShaderFunction>(function, what);
  if (f && !f->encoder)
    finding("stream", "%s before aoti_torch_mps_start_encoding in this block", what);
  return f ? f->encoder : nullptr;
}

API int aoti_torch_mps_set_arg_tensor(Object* function, unsigned index,
                                      const metalsim_tensor* tensor) {
  Encoder* e = encoding(function, "aoti_torch_mps_set_arg_tensor");
  if (!e) return kFailure;
  e->set_buffer(reinterpret_cast<Object*>(tensor->buffer), tensor->offset, index);
  return kOk;
}

API int torch_mps_set_arg_bytes(Object* function, unsigned index, const void* bytes, uint64_t n) {
  Encoder* e = encoding(function, "torch_mps_set_arg_bytes");
  if (!e) return kFailure;
  e->set_bytes(bytes, n, index);
  return kOk;
}

API int aoti_torch_mps_dispatch_array_with_group_size(Object* function, const uint64_t* length,
                                                      size_t lengths, const uint64_t* group,
                                                      size_t groups) {
  Encoder* e = encoding(function, "aoti_torch_mps_dispatch_array_with_group_size");
  if (!e) return kFailure;
  auto at = [](const uint64_t* v, size_t n, size_t i) { return i < n ? v[i] : uint64_t{1}; };
  e->dispatch({at(length, lengths, 0), at(length, lengths, 1), at(length, lengths, 2)},
              {at(group, groups, 0), at(group, groups, 1), at(group, groups, 2)});
  return kOk;
}
