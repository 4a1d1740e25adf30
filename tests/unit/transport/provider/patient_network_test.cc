// A peer that refuses is called again for a while.
#include "transport/provider/patient_network.h"

#include <gtest/gtest.h>

#include <optional>

#include "mrpool/reactor.h"
#include "transport/uiwarp/socket.h"

namespace mrpool::provider {
namespace {

struct Caller final : uiwarp::DialHandler {
  void on_dialed(absl::StatusOr<std::unique_ptr<uiwarp::Stream>> stream) override {
    result = stream.status();
  }
  std::optional<absl::Status> result;
};

struct Called final : uiwarp::AcceptHandler {
  void on_accept(std::unique_ptr<uiwarp::Stream>) override {}
  void on_accept_error(const absl::Status&) override {}
};

class PatientNetwork : public testing::Test {
 protected:
  Address at(uint16_t port) {
    return {.transport = "uiwarp", .host = "127.0.0.1", .port = port, .options = {}};
  }
  // A port on which nobody listens.
  uint16_t free_port() { return (*sockets_->listen(*reactor_, at(0), called_))->port(); }

  std::shared_ptr<Reactor> reactor_ = *Reactor::create();
  std::shared_ptr<uiwarp::Network> sockets_ = uiwarp::make_socket_network();
  Caller caller_;
  Called called_;
};

TEST_F(PatientNetwork, ReachesAPeerThatListensLater) {
  const auto network = make_patient_network(sockets_, std::chrono::minutes(5));
  const uint16_t port = free_port();
  const auto dial = network->dial(*reactor_, at(port), caller_);
  ASSERT_TRUE(dial.ok());
  const Nanoseconds later = reactor_->now() + std::chrono::milliseconds(20);
  while (reactor_->now() < later) reactor_->poll();
  EXPECT_FALSE(caller_.result.has_value());
  const auto listener = sockets_->listen(*reactor_, at(port), called_);
  ASSERT_TRUE(listener.ok()) << listener.status();
  while (!caller_.result.has_value()) reactor_->poll();
  EXPECT_TRUE(caller_.result->ok()) << *caller_.result;
}

TEST_F(PatientNetwork, GivesUp) {
  const auto network = make_patient_network(sockets_, std::chrono::milliseconds(20));
  const auto dial = network->dial(*reactor_, at(free_port()), caller_);
  while (!caller_.result.has_value()) reactor_->poll();
  EXPECT_TRUE(absl::IsUnavailable(*caller_.result)) << *caller_.result;
}

TEST_F(PatientNetwork, IsSilentOnceItIsDropped) {
  const auto network = make_patient_network(sockets_, std::chrono::minutes(5));
  auto dial = network->dial(*reactor_, at(free_port()), caller_);
  const Nanoseconds later = reactor_->now() + std::chrono::milliseconds(20);
  while (reactor_->now() < later) reactor_->poll();
  dial->reset();
  for (int i = 0; i < 1000; ++i) reactor_->poll();
  EXPECT_FALSE(caller_.result.has_value());
}

}  // namespace
}  // namespace mrpool::provider
