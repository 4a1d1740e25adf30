#include "examples/storage/users.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/storage/descriptor.h"

namespace mrpool::storage {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    found.push_back(at->path());
  }
  return found;
}

std::vector<std::string> lines_of(const std::string& path) {
  const auto text = read_text(path);
  if (!text.ok()) return {};
  return absl::StrSplit(*text, '\n');
}

// Whether the process has the file open and holds a lock through that.
bool locks(const fs::path& process, const struct stat& file) {
  for (const fs::path& link : entries(process / "fd")) {
    struct stat open_file {};
    if (::stat(link.c_str(), &open_file) != 0 || open_file.st_dev != file.st_dev ||
        open_file.st_ino != file.st_ino) {
      continue;
    }
    const auto info = read_text(process / "fdinfo" / link.filename());
    if (info.ok() && info->find("\nlock:") != std::string::npos) return true;
  }
  return false;
}

// The device's own number and those of its partitions: a mounted partition keeps the disk too.
std::vector<dev_t> numbers_of(dev_t device) {
  std::vector<dev_t> numbers = {device};
  const std::string sysfs = absl::StrCat("/sys/dev/block/", major(device), ":", minor(device));
  for (const fs::path& entry : entries(sysfs)) {
    if (!fs::exists(entry / "partition")) continue;
    const auto text = read_text(entry / "dev");
    if (!text.ok()) continue;
    const std::vector<std::string> parts = absl::StrSplit(*text, ':');
    uint32_t high = 0;
    uint32_t low = 0;
    if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &high) &&
        absl::SimpleAtoi(parts[1], &low)) {
      numbers.push_back(makedev(high, low));
    }
  }
  return numbers;
}

bool is_one_of(const std::vector<dev_t>& numbers, const std::string& node) {
  struct stat info {};
  if (::stat(node.c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) return false;
  return std::find(numbers.begin(), numbers.end(), info.st_rdev) != numbers.end();
}

// Where one of the devices is mounted; empty: nowhere that is seen from here. A line of mountinfo:
// "36 35 98:0 /root /mount/point options - type /dev/source options".
std::string mount_of(const std::vector<dev_t>& numbers) {
  for (const std::string& line : lines_of("/proc/self/mountinfo")) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ');
    if (fields.size() < 10) continue;
    for (const dev_t number : numbers) {
      if (fields[2] == absl::StrCat(major(number), ":", minor(number))) return fields[4];
    }
    // Some file systems (btrfs) have a number of their own.
    for (size_t i = 6; i + 2 < fields.size(); ++i) {
      if (fields[i] == "-" && is_one_of(numbers, fields[i + 2])) return fields[4];
    }
  }
  return {};
}

std::string swap_of(const std::vector<dev_t>& numbers) {
  for (const std::string& line : lines_of("/proc/swaps")) {
    const std::string node = line.substr(0, line.find(' '));
    if (is_one_of(numbers, node)) return node;
  }
  return {};
}

bool is_file(const struct stat& file, const std::string& path) {
  struct stat other {};
  return ::stat(path.c_str(), &other) == 0 && other.st_dev == file.st_dev &&
         other.st_ino == file.st_ino;
}

std::string first_line(const fs::path& path) {
  const std::vector<std::string> lines = lines_of(path);
  return lines.empty() ? std::string() : lines.front();
}

// `loop` is the directory of a loop device, /sys/block/loop3.
bool backs(const struct stat& file, const fs::path& loop) {
  const std::string path = first_line(loop / "loop" / "backing_file");
  if (path.empty()) return false;  // nothing is attached
  const std::string node = "/dev/" + loop.filename().string();
  const Descriptor device(::open(node.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  loop_info64 info{};
  if (device.get() >= 0 && ::ioctl(device.get(), LOOP_GET_STATUS64, &info) == 0) {
    return info.lo_device == file.st_dev && info.lo_inode == file.st_ino;
  }
  return is_file(file, path);  // as seen from where it was attached
}

// What a path in /proc has instead of blanks and the like: "\040".
std::string unescaped(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string digits = text.substr(i + 1, 3);
    const bool escape = text[i] == '\\' && digits.size() == 3 &&
                        digits.find_first_not_of("01234567") == digits.npos;
    plain += escape ? char(std::stoi(digits, nullptr, 8)) : text[i];
    if (escape) i += 3;
  }
  return plain;
}

std::string holder_of(const std::vector<dev_t>& numbers) {
  for (const dev_t number : numbers) {
    for (const fs::path& holder :
         entries(absl::StrCat("/sys/dev/block/", major(number), ":", minor(number), "/holders"))) {
      return holder.filename();
    }
  }
  return {};
}

}  // namespace

long process_that_locks(int fd) {
  struct stat file {};
  if (::fstat(fd, &file) != 0) return 0;
  for (const fs::path& process : entries("/proc")) {
    int64_t pid = 0;
    if (absl::SimpleAtoi(process.filename().string(), &pid) && locks(process, file)) {
      return long(pid);
    }
  }
  return 0;
}

std::string users_of_device(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return "is in use by another program";
  const std::vector<dev_t> numbers = numbers_of(info.st_rdev);
  if (const std::string where = mount_of(numbers); !where.empty()) {
    return absl::StrCat("is mounted at ", where, "; unmount it (umount ", where,
                        ") or serve another device");
  }
  if (const std::string swap = swap_of(numbers); !swap.empty()) {
    return absl::StrCat("is swap space; switch it off (swapoff ", swap,
                        ") or serve another device");
  }
  if (const std::string holder = holder_of(numbers); !holder.empty()) {
    return absl::StrCat("is part of ", holder, "; serve /dev/", holder, " or take ", holder,
                        " apart");
  }
  return "is in use by another program; end it first, or serve another device";
}

std::string users_of_file(const struct stat& file, bool read_only, const KernelTables& tables) {
  for (const fs::path& loop : entries(tables.sys + "/block")) {
    if (!backs(file, loop) || (read_only && first_line(loop / "ro") == "1")) continue;
    const std::string node = "/dev/" + loop.filename().string();
    struct stat info {};
    const std::string where = ::stat(node.c_str(), &info) == 0 && S_ISBLK(info.st_mode)
                                  ? mount_of(numbers_of(info.st_rdev))
                                  : "";
    return absl::StrCat("backs ", node,
                        where.empty() ? "" : absl::StrCat(", which is mounted at ", where), "; ",
                        where.empty() ? "" : absl::StrCat("unmount it (umount ", where, ") and "),
                        "detach it (losetup -d ", node, "), or serve another file");
  }
  for (const std::string& line : lines_of(tables.proc + "/swaps")) {
    const std::string path = unescaped(line.substr(0, line.find_first_of(" \t")));
    if (path.starts_with('/') && is_file(file, path)) {
      return absl::StrCat("is swap space; switch it off (swapoff ", path,
                          ") or serve another file");
    }
  }
  return {};
}

}  // namespace mrpool::storage
