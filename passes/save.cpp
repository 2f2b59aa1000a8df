// Saves a module to a file, which is complete or untouched whatever happens.
#include <fcntl.h>
#include <torch/csrc/jit/serialization/export.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string_view>
#include <system_error>
#include <thread>

#include "ipex_quant/compile.h"

namespace ipex_quant {
namespace {

namespace fs = std::filesystem;

enum class Sync { kNo, kYes };

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

/// Writes a file in place. \return an errno, 0 when all went well.
int write_file(const fs::path& path, std::string_view bytes, Sync sync) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return errno;
  const bool written = write_all(file, bytes) && (sync == Sync::kNo || ::fsync(file) == 0);
  const int error = written ? 0 : errno;
  const bool closed = ::close(file) == 0;
  return error != 0 || closed ? error : errno;
}

/// Writes a file beside its place, then renames it; a name is its process's and thread's own.
int write_beside(const fs::path& path, std::string_view bytes) {
  const std::size_t thread = std::hash<std::thread::id>()(std::this_thread::get_id());
  fs::path temporary = path;
  temporary += "." + std::to_string(::getpid()) + "-" + std::to_string(thread) + ".tmp";
  // Synced, else a machine that stops may have the name without the bytes.
  int error = write_file(temporary, bytes, Sync::kYes);
  if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) ::unlink(temporary.c_str());
  return error;
}

/// Writes a file, or what a link leads to, whole or not at all; pipes and devices as they are.
int write_whole(fs::path path, std::string_view bytes) {
  std::error_code failed;
  const fs::file_status there = fs::status(path, failed);
  if (fs::exists(there) && !fs::is_regular_file(there)) return write_file(path, bytes, Sync::kNo);
  if (failed && !fs::status_known(there)) return failed.value();  // a circle of links, perhaps
  while (fs::is_symlink(path, failed)) path = path.parent_path() / fs::read_symlink(path, failed);
  return write_beside(path, bytes);
}

}  // namespace

void save(const torch::jit::Module& module, const std::string& path) {
  std::string bytes;
  torch::jit::ExportModule(module, [&](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
    return size;
  });
  const int error = write_whole(path, bytes);
  TORCH_CHECK(error == 0, "save: cannot write the module to '", path,
              "': ", std::generic_category().message(error));
}

}  // namespace ipex_quant
