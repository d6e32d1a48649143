// SPDX-License-Identifier: MIT
//
// torch.h - torch's MPS stream. The class and its members have torch's names,
// because extensions look up their mangled names.
#ifndef METALSIM_TORCH_H
#define METALSIM_TORCH_H

#include "dispatch.h"
#include "metal.h"

#define METALSIM_EXPORTED __attribute__((visibility("default")))

namespace at::mps {

enum class METALSIM_EXPORTED SyncType {
  NONE,
  COMMIT,
  COMMIT_AND_WAIT,
  COMMIT_AND_CONTINUE,
  COMMIT_ADAPTIVE
};

class MPSStream {
 public:
  explicit MPSStream(int index);
  METALSIM_EXPORTED sim::Object* commandBuffer();
  METALSIM_EXPORTED sim::Object* commandEncoder();
  METALSIM_EXPORTED void endKernelCoalescing();
  METALSIM_EXPORTED void synchronize(SyncType type);

  void require_queue(const char* what);
  sim::CommandBuffer* current();  // makes one if there is none
  bool has_work() const { return buffer_ != nullptr; }
  sim::SerialQueue* queue;

 private:
  void commit();
  int index_;
  sim::CommandQueue* commands_;
  sim::CommandBuffer* buffer_ = nullptr;
  sim::Encoder* encoder_ = nullptr;
};

METALSIM_EXPORTED MPSStream* getDefaultMPSStream();
METALSIM_EXPORTED MPSStream* getCurrentMPSStream();

}  // namespace at::mps

namespace sim {
void define_shader();
}

#endif
