// The iSER programs in one thread under one seed: the target of examples/iser/target with two
// targets of two units each, and initiators of examples/iser/initiator. The storage delays and
// fails (volume.h), and the network splits, delays, stalls and breaks.
//
// Only their external dependencies are replaced: reactor, network, storage, randomness. Initiators
// log in with and without CHAP, and read and write their own blocks with
// immediate, unsolicited and solicited data; some also copy them from unit to unit. They abort slow
// commands, reset units and targets under load, log out under load, drop connections and log in
// again. Sometimes all are silent for so long that the target pings them.
//
// The invariants are those of world.h: memory, once, durable, protocol, resources, progress; and
// at the end the CmdSN window of every session is open again.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/iser/target/service.h"
#include "examples/storage/storage.h"
#include "tests/sim/admission.h"
#include "tests/sim/attacked_world.h"
#include "tests/sim/iser_visitor.h"
#include "tests/sim/strangers.h"

namespace mrpool::sim {

class IserHost;

class IserWorld final : public AttackedWorld<IserHost> {
 public:
  static constexpr uint32_t kTargets = 2;  // the second wants CHAP, both ways
  static constexpr uint16_t kUnits = 2;    // of each
  static constexpr const char* kNames[kTargets] = {"iqn.2026-11.org.mrpool:open",
                                                   "iqn.2026-11.org.mrpool:closed"};
  static constexpr const char* kTargetSecret = "a target's own";

  IserWorld(uint64_t seed, Plant plant, Violated violated);
  ~IserWorld() override;

  // A block of a unit's storage.
  std::span<std::byte> block(uint32_t target, uint16_t unit, uint32_t number);
  bool silent() const { return reactor.now() < silent_until_; }
  std::vector<std::string_view> all_moves() const override;
  // Of the hosts' own disk with that unit number.
  std::string serial(uint32_t target, uint16_t unit) const;
  // The NAA identifier of the same.
  std::vector<uint8_t> naa(uint32_t target, uint16_t unit) const;
  // Whether initiators copy between units. It draws nothing: other seeds stay what they are.
  bool copies() const { return seed % 8 == 5; }
  // The current secret of the second target.
  std::string secret() const { return secret_number(secrets_); }
  // The previous secret, or one that was never used.
  std::string old_secret() const { return secret_number(secrets_ - 1); }
  const Admission& admission() const { return admission_; }
  // Changes with every reload of the access list or of the secret.
  uint64_t access_changes() const { return access_changes_; }
  // True if a store was truncated below the initiators' blocks.
  bool was_cut() const { return was_cut_; }

 private:
  void disturb() override;
  void calm_down() override;
  void go_on() override;
  bool others_left() override { return strangers_ == nullptr || strangers_->left(); }
  void check_step() override;
  void hang();
  // Gives the unit number to another store, or back to the hosts' own.
  void swap(uint32_t target, uint16_t unit);
  // Truncates or extends the hosts' store of a unit; the target may or may not check it.
  void resize(uint32_t store, uint64_t bytes);
  // Admits or refuses a host by a reload.
  void admit(size_t host, bool admitted);
  void change_secret();
  void reload();
  static std::string secret_number(uint64_t number) {
    return "an initiator's " + std::to_string(number);
  }
  size_t connections() const override;
  std::string target_state() const override;
  void check_target() override;
  void stop_target(std::function<void()> stopped) override;
  void heard(std::string_view line);
  void make_stores(uint32_t blocks);
  void expect_bad_peers();

  // By target and unit: the hosts' own stores, and stores that no host uses.
  static constexpr uint32_t kStores = kTargets * kUnits;
  std::array<std::shared_ptr<storage::Volume>, kStores> ram_;
  std::array<std::shared_ptr<storage::Volume>, kStores> other_;
  std::map<std::string, std::shared_ptr<storage::Volume>, std::less<>> volumes_;  // by spec
  uint64_t whole_ = 0;                     // bytes of a store: the blocks of all hosts
  std::array<uint64_t, kStores> sizes_{};  // of the hosts' own stores now
  bool was_cut_ = false;
  Admission admission_{0};
  uint64_t secrets_ = 1;
  uint64_t access_changes_ = 0;
  Nanoseconds hung_until_{};
  iser_target::Config config_;
  std::unique_ptr<iser_target::Service> service_;
  Nanoseconds silent_until_{};
  std::unique_ptr<Strangers<IserVisitor>> strangers_;
};

}  // namespace mrpool::sim
