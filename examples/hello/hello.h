// What the two sides of the hello example share: what they exchange, and how a main() runs one.
//
// Thread safety: a program of one thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include "examples/base/command_line.h"
#include "mrpool/asio.h"

namespace hello {

using boost::asio::awaitable;
using mrpool::Access, mrpool::Address, mrpool::AsioListener, mrpool::AsioLoan, mrpool::AsioQp,
    mrpool::Device, mrpool::Lender, mrpool::LoanStatus, mrpool::MrPool, mrpool::Opcode,
    mrpool::QpOptions, mrpool::Reactor, mrpool::RwContext, mrpool::RwDirection, mrpool::RwLimits,
    mrpool::RwQueueNeeds, mrpool::Sge, mrpool::WcStatus, mrpool::WorkRequest;

// The client's first message is what stands before `text`: the key to it, and whether the server is
// to end the key with its answer.
struct Slot {
  mrpool::RemoteBuffer lent;
  bool end_key = false;
  char text[64];
};

// The shortest way to report an error: an exception. The library itself never throws.
inline void require(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what);
}
inline void require(const absl::Status& status) { require(status.ok(), status.ToString()); }
inline void require(mrpool::PostStatus posted, mrpool::WcStatus status) {
  require(posted == mrpool::PostStatus::kOk, std::string(to_string(posted)));
  require(status == mrpool::WcStatus::kSuccess, std::string(to_string(status)));
}
inline void require(mrpool::LoanStatus status, mrpool::LoanStatus wanted) {
  require(status == wanted, std::string(to_string(status)));
}

// Runs `side(reactor, address)` to its end on a reactor of its own; the program's exit status.
template <typename Side>
int run(int argc, char** argv, Side side, const char* program, const char* summary) {
  std::string where;
  mrpool::base::CommandLine command_line(program, summary);
  command_line.operand("ADDRESS",
                       "where the server listens: uiwarp://HOST:PORT or verbs://HOST:PORT",
                       "uiwarp://127.0.0.1:4711", where);
  if (const auto status = command_line.begin(argc, argv)) return *status;
  int exit_status = 0;
  try {
    const auto reactor = mrpool::Reactor::create().value();
    const auto address = mrpool::Address::parse(where).value();
    boost::asio::co_spawn(mrpool::io_context(*reactor), side(*reactor, address),
                          [&](std::exception_ptr failure) {
                            reactor->stop();
                            if (failure) std::rethrow_exception(failure);
                          });
    reactor->run();
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s: %s\n", program, failure.what());
    exit_status = 1;
  }
  return exit_status;
}

}  // namespace hello
