#include "examples/run/follower.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace mrpool::run {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".xml";

// 0: none in that name.
pid_t pid_in(std::string_view name) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  const bool all = error == std::errc{} && std::string_view(end) == kExtension;
  return all && pid > 0 ? pid : 0;
}

// One that has ended and was not waited for has no program any more.
bool is_alive(pid_t pid) {
  char program = 0;
  const std::string link = absl::StrCat("/proc/", pid, "/exe");
  return ::readlink(link.c_str(), &program, 1) >= 0 || errno == EACCES || errno == EPERM;
}

}  // namespace

Follower::~Follower() {
  for (const Stream& stream : streams_) ::close(stream.fd);
}

std::string Follower::pattern() const {
  // Valgrind replaces what follows a percent sign.
  return absl::StrCat(absl::StrReplaceAll(folder_, {{"%", "%%"}}), "/%p",
                      absl::string_view(kExtension.data(), kExtension.size()));
}

void Follower::take_files() {
  std::error_code error;
  for (const fs::directory_entry& file : fs::directory_iterator(folder_, error)) {
    const std::string name = file.path().filename().string();
    if (const pid_t pid = pid_in(name); pid != 0) take(pid, file.path().string());
  }
}

void Follower::take(pid_t pid, const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return;
  ::unlink(path.c_str());
  // The process has become another program.
  for (auto stream = streams_.begin(); stream != streams_.end();) {
    stream = stream->pid == pid ? end(stream) : std::next(stream);
  }
  streams_.emplace_back(pid, fd, suppressions_, output_);
}

void Follower::read(Stream& stream) {
  std::array<char, 65536> buffer;
  ssize_t bytes = 0;
  while ((bytes = ::read(stream.fd, buffer.data(), buffer.size())) > 0) {
    stream.xml.feed({buffer.data(), static_cast<size_t>(bytes)});
  }
}

Follower::Streams::iterator Follower::end(Streams::iterator stream) {
  read(*stream);
  stream->xml.finish();
  stream->findings.finish();
  errors_ += stream->findings.errors();
  ::close(stream->fd);
  return streams_.erase(stream);
}

void Follower::look() {
  take_files();
  for (auto stream = streams_.begin(); stream != streams_.end();) {
    const bool alive = is_alive(stream->pid);
    read(*stream);
    stream = alive && !stream->xml.ended() ? std::next(stream) : end(stream);
  }
}

uint64_t Follower::errors() const {
  uint64_t out = errors_;
  for (const Stream& stream : streams_) out += stream.findings.errors();
  return out;
}

}  // namespace mrpool::run
