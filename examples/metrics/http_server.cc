#include "examples/metrics/http_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/descriptor_limit.h"

namespace mrpool::metrics {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using Error = boost::system::error_code;

// The pause after an accept() that failed for lack of descriptors.
constexpr std::chrono::milliseconds kAcceptPause{200};

// Shared by all connections.
struct Shared {
  const HttpSite site;
  const std::chrono::milliseconds request_patience;
  size_t clients = 0;
};

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

// One connection: requests one at a time, until either side closes it.
class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(tcp::socket socket, Shared& shared) : stream_(std::move(socket)), shared_(shared) {
    ++shared_.clients;
  }
  ~Client() { --shared_.clients; }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void read() {
    parser_.emplace();
    parser_->header_limit(kMaxRequest);
    parser_->body_limit(0);
    stream_.expires_after(shared_.request_patience);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](Error error, size_t) { self->got(error); });
  }

 private:
  // An invalid request receives an error and ends the connection.
  void got(const Error& error) {
    if (!error) return serve();
    if (error == http::error::header_limit) return write(refusal(431, "too long a request"), true);
    if (error == http::error::body_limit || error == http::error::unexpected_body) {
      return write(refusal(413, "requests have no body here"), true);
    }
    const bool nonsense =
        error.category() == http::make_error_code(http::error::bad_method).category();
    if (nonsense && error != http::error::end_of_stream && error != http::error::partial_message) {
      return write(refusal(400, "invalid HTTP request"), true);
    }
    close();
  }

  void serve() {
    const auto& request = parser_->get();
    head_ = request.method() == http::verb::head;
    write(shared_.site.answer({.method = view(request.method_string()),
                               .target = view(request.target()),
                               .host = view(request[http::field::host]),
                               .authorization = view(request[http::field::authorization])}),
          !request.keep_alive());
  }

  void write(HttpReply reply, bool last) {
    response_ = {};
    response_.version(11);
    response_.result(reply.status);
    response_.keep_alive(!last);
    response_.set(http::field::content_type, reply.type);
    for (const auto& [name, value] : kHeaders) response_.set(name, value);
    for (const auto& [name, value] : reply.headers) response_.set(name, value);
    response_.content_length(reply.body.size());
    if (!std::exchange(head_, false)) response_.body() = std::move(reply.body);
    stream_.expires_after(kReplyPatience);
    http::async_write(stream_, response_, [self = shared_from_this()](Error error, size_t) {
      if (error || self->response_.need_eof() || !self->response_.keep_alive())
        return self->close();
      self->read();
    });
  }

  void close() {
    Error ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  beast::tcp_stream stream_;
  Shared& shared_;
  beast::flat_buffer buffer_{kMaxRequest + 1024};
  std::optional<http::request_parser<http::empty_body>> parser_;
  http::response<http::string_body> response_;
  bool head_ = false;
};

absl::Status failed(const tcp::endpoint& where, const Error& error) {
  std::ostringstream name;
  name << where;
  return absl::UnavailableError(
      absl::StrCat("--http ", name.str(), ": ", base::name_missing_descriptors(error.message())));
}

}  // namespace

struct HttpServer::Impl {
  Impl(HttpSite site, std::chrono::milliseconds patience) : shared{std::move(site), patience} {}
  ~Impl() {
    context.stop();
    if (thread.joinable()) thread.join();
  }

  absl::Status listen(const tcp::endpoint& where) {
    Error error;
    acceptor.open(where.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(where, error);
    if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
    if (error) return failed(where, error);
    bound = acceptor.local_endpoint(error);
    return error ? failed(where, error) : absl::OkStatus();
  }

  void accept() {
    acceptor.async_accept([this](Error error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) return pause();
      // Above the limit, the connection is closed at the end of the scope.
      if (shared.clients < kMaxClients) {
        std::make_shared<Client>(std::move(socket), shared)->read();
      }
      accept();
    });
  }

  void pause() {
    timer.expires_after(kAcceptPause);
    timer.async_wait([this](Error error) {
      if (!error) accept();
    });
  }

  Shared shared;  // the context's clients refer to it
  asio::io_context context{1};
  tcp::acceptor acceptor{context};
  asio::steady_timer timer{context};
  tcp::endpoint bound;
  std::thread thread;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::start(
    const HttpEndpoint& where, HttpSite site, std::chrono::milliseconds request_patience) {
  auto impl = std::make_unique<Impl>(std::move(site), request_patience);
  if (absl::Status status = impl->listen(where.endpoint); !status.ok()) return status;
  impl->accept();
  impl->thread = std::thread([&context = impl->context] { context.run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

std::string HttpServer::url() const {
  std::ostringstream text;
  text << "http://" << impl_->bound << "/";
  return text.str();
}

}  // namespace mrpool::metrics
