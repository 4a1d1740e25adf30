// Who makes progress, however a program waits: pairs of threads play ping-pong, and each wait polls
// the CQ, sleeps on its channel, polls memory or stays away for a while, at random. A wake-up that
// is lost ends the program by SIGALRM. First one pair, for which nobody else wakes the provider,
// then several. Run by mrpool-run: threads_probe [SEED].
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "probe.h"

namespace {

constexpr unsigned kPairs = 3;
constexpr uint64_t kRounds = 1000;
constexpr unsigned kPatienceSeconds = 200;
// No order between the device's stores and the program's loads is what ThreadSanitizer calls a
// race.
#ifdef __SANITIZE_THREAD__
constexpr bool kPollsMemory = false;
#else
constexpr bool kPollsMemory = true;
#endif

// A player's memory: what it sends, and what it receives.
struct Ball {
  uint64_t out = 0;
  uint64_t in = 0;
};

class Player {
 public:
  explicit Player(unsigned seed) : random_(seed) {
    channel_ = ibv_create_comp_channel(context);
    end_ = make_end(pd, channel_);
    mr_ = ibv_reg_mr(pd, &ball_, sizeof ball_, IBV_ACCESS_LOCAL_WRITE);
    EXPECT(channel_ != nullptr && mr_ != nullptr);
    receive();
  }
  ~Player() {
    EXPECT(ibv_dereg_mr(mr_) == 0);
    destroy(end_);
    EXPECT(ibv_destroy_comp_channel(channel_) == 0);
  }
  Player(const Player&) = delete;
  Player& operator=(const Player&) = delete;

  ibv_qp* qp() { return end_.qp; }

  void play(bool first) {
    for (uint64_t i = 1; i <= kRounds; ++i) {
      if (first) send(i);
      wait_for_ball(i);
      if (!first) send(i);
    }
    while (sent_ < kRounds) wait();
  }

 private:
  void receive() {
    ibv_sge sge = {reinterpret_cast<uintptr_t>(&ball_.in), sizeof ball_.in, mr_->lkey};
    ibv_recv_wr wr = {.wr_id = 1, .sg_list = &sge, .num_sge = 1};
    ibv_recv_wr* bad;
    EXPECT(ibv_post_recv(end_.qp, &wr, &bad) == 0);
  }

  void send(uint64_t value) {
    while (sent_ < value - 1) wait();
    ball_.out = value;
    ibv_sge sge = {reinterpret_cast<uintptr_t>(&ball_.out), sizeof ball_.out, mr_->lkey};
    ibv_send_wr wr = {.wr_id = 2,
                      .sg_list = &sge,
                      .num_sge = 1,
                      .opcode = IBV_WR_SEND,
                      .send_flags = IBV_SEND_SIGNALED};
    ibv_send_wr* bad;
    EXPECT(ibv_post_send(end_.qp, &wr, &bad) == 0);
  }

  void wait_for_ball(uint64_t value) {
    while (received_ < value) {
      if (kPollsMemory && received_ == value - 1 && random_() % 4 == 0) {
        // Nothing of the provider's is called meanwhile.
        const std::atomic_ref<uint64_t> in(ball_.in);
        while (in.load(std::memory_order_relaxed) != value) std::this_thread::yield();
      }
      wait();
    }
    EXPECT(ball_.in == value);
    if (value < kRounds) receive();
  }

  // At least one completion.
  void wait() {
    const auto kind = random_() % 3;
    if (kind == 0) ::usleep(static_cast<useconds_t>(random_() % 500));
    if (kind == 1) {
      EXPECT(ibv_req_notify_cq(end_.cq, 0) == 0);
      if (take()) return;
      ibv_cq* cq;
      void* ignored;
      EXPECT(ibv_get_cq_event(channel_, &cq, &ignored) == 0);
      ibv_ack_cq_events(cq, 1);
    }
    while (!take()) {
    }
  }

  bool take() {
    ibv_wc wc;
    if (ibv_poll_cq(end_.cq, 1, &wc) != 1) return false;
    EXPECT(wc.status == IBV_WC_SUCCESS);
    ++(wc.wr_id == 1 ? received_ : sent_);
    return true;
  }

  std::minstd_rand random_;
  Ball ball_;
  ibv_comp_channel* channel_;
  End end_;
  ibv_mr* mr_;
  uint64_t received_ = 0;
  uint64_t sent_ = 0;
};

void play(unsigned pairs, unsigned seed) {
  std::vector<std::unique_ptr<Player>> players;
  for (unsigned i = 0; i < 2 * pairs; ++i) players.push_back(std::make_unique<Player>(seed + i));
  for (size_t i = 0; i < players.size(); i += 2) {
    meet(players[i]->qp(), players[i + 1]->qp()->qp_num);
    meet(players[i + 1]->qp(), players[i]->qp()->qp_num);
  }
  std::vector<std::thread> threads;
  for (size_t i = 0; i < players.size(); ++i) {
    threads.emplace_back([&, i] { players[i]->play(i % 2 == 0); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned seed =
      argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 0)) : std::random_device{}();
  std::printf("seed %u\n", seed);
  std::fflush(stdout);
  ::alarm(kPatienceSeconds);
  open_device();
  play(1, seed);
  play(kPairs, seed);
  close_device();
  return failures == 0 ? 0 : 1;
}
