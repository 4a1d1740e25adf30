#include "transport/provider/capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mrpool/internal/report.h"
#include "transport/provider/cm_address.h"
#include "transport/provider/options.h"
#include "transport/provider/pcap_format.h"
#include "transport/provider/tcp_record.h"
#include "transport/uiwarp/socket.h"

namespace mrpool::provider {
namespace {

using uiwarp::AcceptHandler;
using uiwarp::Dial;
using uiwarp::DialHandler;
using uiwarp::Network;
using uiwarp::Stream;
using uiwarp::StreamEvents;
using uiwarp::StreamListener;
using uiwarp::StreamResult;

// Written without a buffer of its own, so that a program that crashes leaves all of it.
class PcapFile final : public RecordSink {
 public:
  explicit PcapFile(std::string path)
      : path_(std::move(path)),
        fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (fd_ < 0) {
      fail("name a file in a folder that every process of the program may write");
      return;
    }
    const PcapHeader header;
    write({reinterpret_cast<const std::byte*>(&header), sizeof header});
  }
  ~PcapFile() { close(); }
  PcapFile(const PcapFile&) = delete;
  PcapFile& operator=(const PcapFile&) = delete;

  bool good() const { return fd_ >= 0; }
  void write(std::span<const std::byte> record) override {
    while (fd_ >= 0 && !record.empty()) {
      const ssize_t written = ::write(fd_, record.data(), record.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail("the capture ends here; it needs more space");
      record = record.subspan(static_cast<size_t>(written));
    }
  }

 private:
  void fail(std::string_view advice) {
    internal::report(absl::StrCat("--pcap: cannot write '", path_, "': ", std::strerror(errno),
                                  "; ", absl::string_view(advice.data(), advice.size())));
    close();
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

  const std::string path_;
  int fd_;
};

// The addresses of a connection whose names the device has; one that is not known is all zeros.
sockaddr_storage address_of(const std::string& name) {
  sockaddr_storage unknown{};
  unknown.ss_family = AF_INET;
  return parse_endpoint(name).value_or(unknown);
}

class CapturedStream final : public Stream {
 public:
  CapturedStream(std::shared_ptr<PcapFile> file, std::unique_ptr<Stream> stream, bool dialed)
      : file_(std::move(file)),
        stream_(std::move(stream)),
        record_(*file_, address_of(stream_->local_name()), address_of(stream_->peer_name()),
                dialed) {}
  ~CapturedStream() override { record_.sent_end(); }

  StreamResult readv(std::span<const iovec> to) override {
    const StreamResult result = stream_->readv(to);
    pass(to, result.bytes, &TcpRecord::received);
    if (result.closed) record_.received_end();
    return result;
  }
  StreamResult writev(std::span<const iovec> from) override {
    const StreamResult result = stream_->writev(from);
    pass(from, result.bytes, &TcpRecord::sent);
    return result;
  }
  void want_read() override { stream_->want_read(); }
  void want_write() override { stream_->want_write(); }
  void stop_watching() override { stream_->stop_watching(); }
  void shutdown_write() override {
    record_.sent_end();
    stream_->shutdown_write();
  }
  bool peer_closed() const override { return stream_->peer_closed(); }
  void set_keep_alive(const KeepAlive& keep_alive) override { stream_->set_keep_alive(keep_alive); }
  void attach(Reactor& reactor, StreamEvents& events) override { stream_->attach(reactor, events); }
  void detach() override { stream_->detach(); }
  std::string local_name() const override { return stream_->local_name(); }
  std::string peer_name() const override { return stream_->peer_name(); }

 private:
  void pass(std::span<const iovec> pieces, size_t bytes,
            void (TcpRecord::*to)(std::span<const std::byte>)) {
    for (const iovec& piece : pieces) {
      const size_t part = std::min(bytes, piece.iov_len);
      (record_.*to)({static_cast<const std::byte*>(piece.iov_base), part});
      bytes -= part;
      if (bytes == 0) return;
    }
  }

  const std::shared_ptr<PcapFile> file_;
  const std::unique_ptr<Stream> stream_;
  TcpRecord record_;
};

class CapturedListener final : public StreamListener, public AcceptHandler {
 public:
  CapturedListener(std::shared_ptr<PcapFile> file, AcceptHandler& handler)
      : file_(std::move(file)), handler_(handler) {}
  absl::Status open(Network& network, Reactor& reactor, const Address& address) {
    absl::StatusOr<std::unique_ptr<StreamListener>> made = network.listen(reactor, address, *this);
    if (made.ok()) listener_ = *std::move(made);
    return made.status();
  }
  uint16_t port() const override { return listener_->port(); }
  void on_accept(std::unique_ptr<Stream> stream) override {
    handler_.on_accept(std::make_unique<CapturedStream>(file_, std::move(stream), false));
  }
  void on_accept_error(const absl::Status& error) override { handler_.on_accept_error(error); }

 private:
  const std::shared_ptr<PcapFile> file_;
  AcceptHandler& handler_;
  std::unique_ptr<StreamListener> listener_;
};

class CapturedDial final : public Dial, public DialHandler {
 public:
  CapturedDial(std::shared_ptr<PcapFile> file, DialHandler& handler)
      : file_(std::move(file)), handler_(handler) {}
  absl::Status open(Network& network, Reactor& reactor, const Address& address) {
    absl::StatusOr<std::unique_ptr<Dial>> made = network.dial(reactor, address, *this);
    if (made.ok()) dial_ = *std::move(made);
    return made.status();
  }
  void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) override {
    if (!stream.ok()) return handler_.on_dialed(stream.status());
    handler_.on_dialed(std::make_unique<CapturedStream>(file_, *std::move(stream), true));
  }

 private:
  const std::shared_ptr<PcapFile> file_;
  DialHandler& handler_;
  std::unique_ptr<Dial> dial_;
};

class CapturedNetwork final : public Network {
 public:
  explicit CapturedNetwork(std::shared_ptr<PcapFile> file) : file_(std::move(file)) {}
  absl::StatusOr<std::unique_ptr<StreamListener>> listen(Reactor& reactor, const Address& address,
                                                         AcceptHandler& handler) override {
    auto made = std::make_unique<CapturedListener>(file_, handler);
    if (absl::Status status = made->open(*sockets_, reactor, address); !status.ok()) return status;
    return made;
  }
  absl::StatusOr<std::unique_ptr<Dial>> dial(Reactor& reactor, const Address& address,
                                             DialHandler& handler) override {
    auto made = std::make_unique<CapturedDial>(file_, handler);
    if (absl::Status status = made->open(*sockets_, reactor, address); !status.ok()) return status;
    return made;
  }

 private:
  const std::shared_ptr<PcapFile> file_;
  const std::shared_ptr<Network> sockets_ = uiwarp::make_socket_network();
};

}  // namespace

std::shared_ptr<Network> captured_network() {
  const char* const name = std::getenv(kPcapVariable);
  if (name == nullptr || *name == '\0') return nullptr;
  const char* const first = std::getenv(kPcapFirstVariable);
  const pid_t first_id = first == nullptr ? 0 : static_cast<pid_t>(std::atoi(first));
  auto file = std::make_shared<PcapFile>(capture_path(name, ::getpid(), first_id));
  if (!file->good()) return nullptr;
  return std::make_shared<CapturedNetwork>(std::move(file));
}

}  // namespace mrpool::provider
