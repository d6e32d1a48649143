// SPDX-License-Identifier: MIT
//
// symbols.cpp - hides exports, for tests of missing symbols. dlsym treats an entry of
// the dynamic symbol table with value 0 as undefined, so the value of a hidden symbol is
// set to 0.
#include "symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <map>

#include "export.h"
#include "metalsim.h"

namespace sim {

const std::vector<std::string> aoti_symbols = {"aoti_torch_mps_create_shader_library",
                                               "aoti_torch_mps_get_kernel_function",
                                               "aoti_torch_mps_delete_shader_library",
                                               "aoti_torch_mps_run_command_block",
                                               "aoti_torch_mps_start_encoding",
                                               "aoti_torch_mps_set_arg_tensor",
                                               "aoti_torch_mps_dispatch_array_with_group_size",
                                               "torch_mps_set_arg_bytes"};

const std::vector<std::string> stream_symbols = {"_ZN2at3mps19getCurrentMPSStreamEv",
                                                 "_ZN2at3mps19getDefaultMPSStreamEv",
                                                 "_ZN2at3mps9MPSStream13commandBufferEv",
                                                 "_ZN2at3mps9MPSStream14commandEncoderEv",
                                                 "_ZN2at3mps9MPSStream19endKernelCoalescingEv",
                                                 "_ZN2at3mps9MPSStream11synchronizeENS0_8SyncTypeE",
                                                 "_ZN5torch3mps18get_command_bufferEv",
                                                 "_ZN5torch3mps18get_dispatch_queueEv",
                                                 "_ZN5torch3mps6commitEv",
                                                 "_ZN5torch3mps11synchronizeEv"};

namespace {

std::map<std::string, ElfW(Sym) *> exports() {
  std::map<std::string, ElfW(Sym)*> out;
  Dl_info info;
  link_map* map = nullptr;
  if (!dladdr1(reinterpret_cast<void*>(&metalsim_set), &info, reinterpret_cast<void**>(&map),
               RTLD_DL_LINKMAP))
    return out;
  ElfW(Sym)* table = nullptr;
  const char* names = nullptr;
  const uint32_t* hash = nullptr;  // -Wl,--hash-style=both: its second word counts the symbols
  for (ElfW(Dyn)* d = map->l_ld; d->d_tag != DT_NULL; d++) {
    if (d->d_tag == DT_SYMTAB) table = reinterpret_cast<ElfW(Sym)*>(d->d_un.d_ptr);
    if (d->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(d->d_un.d_ptr);
    if (d->d_tag == DT_HASH) hash = reinterpret_cast<const uint32_t*>(d->d_un.d_ptr);
  }
  if (!table || !names || !hash) return out;
  for (uint32_t i = 1; i < hash[1]; i++)
    if (table[i].st_shndx != SHN_UNDEF) out[names + table[i].st_name] = &table[i];
  return out;
}

void store(ElfW(Addr) * at, ElfW(Addr) value) {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  char* from = reinterpret_cast<char*>(reinterpret_cast<size_t>(at) & ~(page - 1));
  mprotect(from, 2 * page, PROT_READ | PROT_WRITE);
  *at = value;
}

}  // namespace

bool hide_symbols(const std::vector<std::string>& names, bool hidden) {
  static const auto* table = new std::map<std::string, ElfW(Sym)*>(exports());
  static auto* values = new std::map<std::string, ElfW(Addr)>;
  bool all = true;
  for (const std::string& n : names) {
    auto it = table->find(n);
    if (it == table->end()) {
      all = false;
      continue;
    }
    values->emplace(n, it->second->st_value);
    store(&it->second->st_value, hidden ? 0 : values->at(n));
  }
  return all;
}

}  // namespace sim
