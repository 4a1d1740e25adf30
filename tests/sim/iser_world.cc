#include "tests/sim/iser_world.h"

#include <algorithm>
#include <string>
#include <utility>

#include "examples/iser/target/limits.h"
#include "examples/storage/uuid.h"
#include "tests/sim/blocks.h"
#include "tests/sim/iser_host.h"
#include "tests/sim/volume.h"

namespace mrpool::sim {

namespace {

// Longer than the silence after which the target gives an initiator up that does not answer.
constexpr Nanoseconds kSilence = std::chrono::seconds(45);

// The reasons for which this target may drop one of these initiators.
constexpr std::string_view kRight[] = {"its initiator logged in again, from ", "the target stops",
                                       "it has not logged in, and others need its place",
                                       "its initiator is no longer admitted"};
constexpr const char* kNobody = "iqn.2026-11.org.mrpool:nobody";
constexpr const char* kStrangers = "iqn.2026-11.org.mrpool:strangers-have-their-own";
constexpr const char* kStrangersStore = "ram:128KiB,name=strangers";
std::string slow_reader(uint32_t number) {
  return "iqn.2026-11.org.mrpool:slow-" + std::to_string(number);
}
// Blocks that nobody uses, by which a store may be larger.
constexpr uint32_t kSpareBlocks = 64;

}  // namespace

IserWorld::IserWorld(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : AttackedWorld(seed_in, plant_in, violated_in) {
  const auto target_device = open_target_device();

  const uint32_t count = 1 + static_cast<uint32_t>(below(3));
  config_.listen = {"uiwarp://127.0.0.1:3260"};
  config_.engine.mrs = 1 + static_cast<uint32_t>(below(4));
  config_.engine.staging = engine::kMinStaging;
  config_.initial_r2t = chance(500);
  config_.immediate_data = chance(700);
  config_.engine.force_mr = chance(300);
  // Connections whose end the target has not heard of count.
  config_.engine.max_connections = count + static_cast<uint32_t>(below(3));
  if (has_bad_peers()) share_out(config_.engine);
  make_stores(count * IserHost::kBlocks);
  for (uint32_t target = 0; target < kTargets; ++target) {
    config_.targets.push_back({.name = kNames[target], .luns = {}});
    for (uint16_t unit = 0; unit < kUnits; ++unit) {
      config_.targets.back().luns.push_back({ram_[target * kUnits + unit]->spec()});
    }
  }
  admission_ = Admission(count);
  config_.targets[1].authentication = {.incoming = iscsi::Credentials{"host", secret()},
                                       .outgoing = iscsi::Credentials{"target", kTargetSecret}};

  const bool strangers = chance(300);
  if (strangers) {
    config_.targets.push_back({.name = kStrangers, .luns = {kStrangersStore}});
    config_.engine.max_connections += 2;
  }
  iser_target::Environment environment;
  environment.open_device = [target_device](const Address&) { return target_device; };
  // A store has one volume, as a file has by its lock: what is late in it stays known.
  environment.open_volume =
      [this](std::string_view spec,
             const storage::OpenOptions& how) -> absl::StatusOr<std::shared_ptr<storage::Volume>> {
    if (spec == kStrangersStore) return storage::open(spec, how);
    const auto& volume = volumes_.find(spec)->second;
    (void)volume->refresh(0);  // who opens a store looks at it
    return volume;
  };
  environment.random = [this](std::span<uint8_t> out) {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(below(256));
  };
  service_ = std::make_unique<iser_target::Service>(config_, std::move(environment));
  service_->log = [this](const base::LogEntry& entry) { heard(entry.message); };
  // All workers on the one reactor. The number draws nothing: seeds stay what they are.
  const std::vector<Reactor*> reactors(1 + seed % 3, &reactor);
  if (absl::Status status = service_->start(reactors); !status.ok()) {
    violate("the target does not start: " + status.ToString());
  }

  for (uint32_t target = 0; target < kTargets; ++target) {
    for (uint16_t lun = 0; lun < kUnits; ++lun) {
      for (uint32_t i = 0; i < count * IserHost::kBlocks; ++i) stamp(block(target, lun, i), i, 0);
    }
  }
  for (uint32_t i = 0; i < count; ++i) hosts_.push_back(std::make_unique<IserHost>(*this, i));
  if (has_bad_peers()) expect_bad_peers();
  if (!strangers) return;
  strangers_ = std::make_unique<Strangers<IserVisitor>>(
      *this, 1 + static_cast<uint32_t>(below(2)), [](uint32_t number) {
        return IserVisitorOptions{
            .initiator = "iqn.2026-11.org.mrpool:stranger-" + std::to_string(number),
            .target = kStrangers,
            .counted = false};
      });
}

// Slow readers are admitted. Of the others, one has a name that is not, and one not the secret.
void IserWorld::expect_bad_peers() {
  admit(0, true);
  bad_peers_ = std::make_unique<BadVisitors<IserVisitor>>(
      *this, uint16_t{3260}, [](BadKind kind, uint32_t number) {
        const bool slow = kind == BadKind::kSlowReader;
        IserVisitorOptions options{.initiator = slow ? slow_reader(number) : kNobody,
                                   .target = kNames[slow ? 0 : number],
                                   .counted = false,
                                   .reads_only = true,
                                   .patience = kPatienceOfBadPeers};
        if (options.target == kNames[1]) {
          options.initiator = IserHost::name(0);
          options.chap = {"host", "a guess that is wrong"};
        }
        return options;
      });
}

void IserWorld::make_stores(uint32_t blocks) {
  SimVolumeOptions options = bad_storage(*this);
  options.hung_until = &hung_until_;
  whole_ = uint64_t{blocks} * kBlockBytes;
  sizes_.fill(whole_);
  for (const bool own : {true, false}) {
    for (uint32_t i = 0; i < kStores; ++i) {
      auto ram = storage::open("ram:" + std::to_string(whole_ + kSpareBlocks * kBlockBytes) +
                                   (own ? ",name=own" : ",name=other") + std::to_string(i),
                               {.block_size = kBlockBytes});
      if (!ram.ok()) violate(ram.status().ToString());
      (own ? ram_ : other_)[i] = *ram;
      options.size = own ? &sizes_[i] : nullptr;
      volumes_[(*ram)->spec()] = make_sim_volume(*ram, *this, options);
    }
  }
}

void IserWorld::go_on() {
  if (strangers_ != nullptr) strangers_->step();
}

IserWorld::~IserWorld() {
  strangers_.reset();
  bad_peers_.reset();
  hosts_.clear();
  service_.reset();
}

std::span<std::byte> IserWorld::block(uint32_t target, uint16_t unit, uint32_t number) {
  return ram_[target * kUnits + unit]->memory().subspan(size_t{number} * kBlockBytes, kBlockBytes);
}

void IserWorld::heard(std::string_view line) {
  if (strangers_ != nullptr || bad_peers_ != nullptr) return;  // it may be about them
  constexpr std::string_view kDropped = ": dropped: ";
  const size_t dropped = line.find(kDropped);
  const bool wrong =
      dropped != std::string_view::npos
          ? std::ranges::none_of(kRight,
                                 [why = line.substr(dropped + kDropped.size())](
                                     std::string_view right) { return why.starts_with(right); })
          : line.find("terminated") != std::string_view::npos ||
                line.find("protocol") != std::string_view::npos;
  if (wrong) violate("the target says: " + std::string(line));
}

void IserWorld::disturb() {
  if (below(1'000'000) >= 1500) return;
  IserHost& host = *hosts_[below(hosts_.size())];
  switch (below(12)) {
    case 0:
      moved("break");
      network->break_one();
      break;
    case 1:
      host.kill();
      break;
    case 2:
      host.log_out();
      break;
    case 3:
    case 4:
      host.manage();
      break;
    case 5:
      moved("network");
      network->set_options(bad_network());
      break;
    case 6:
      if (!chance(200)) break;
      moved("silence");
      silent_until_ = reactor.now() + kSilence;
      break;
    case 7:
      if (chance(300)) hang();
      break;
    case 8:
      swap(static_cast<uint32_t>(below(kTargets)), static_cast<uint16_t>(below(kUnits)));
      break;
    case 9: {
      const auto store = static_cast<uint32_t>(below(kStores));
      resize(store, (below(whole_ / kBlockBytes + kSpareBlocks) + 1) * kBlockBytes);
      break;
    }
    case 10: {
      const size_t which = below(hosts_.size());
      admit(which, !admission_.admits(which));
      break;
    }
    case 11:
      if (chance(300)) change_secret();
      break;
  }
}

std::vector<std::string_view> IserWorld::all_moves() const {
  return {"break",          "drop",           "log out",       "function",     "network",
          "silence",        "hang",           "swap",          "aborted late", "another's disk",
          "own disk again", "grow",           "shrink",        "new size",     "beyond the end",
          "shut out",       "let in",         "not allowed",   "secret",       "old secret",
          "visit",          "connected",      "not connected", "data",         "slow reader",
          "silent",         "stops half-way", "refused peer",  "flood",        "copy",
          "copy aborted"};
}

// Longer than the target's patience, and no longer than the commands' time-out.
void IserWorld::hang() {
  const Nanoseconds now = reactor.now();
  constexpr Nanoseconds kBetween = std::chrono::seconds(1);
  if (now < hung_until_ + kBetween) return;
  moved("hang");
  hung_until_ = now + Nanoseconds(below(chance(500) ? 100'000'000 : 15'000'000'000));
}

void IserWorld::swap(uint32_t target, uint16_t unit) {
  moved("swap");
  const uint32_t store = target * kUnits + unit;
  std::string& spec = config_.targets[target].luns[unit].storage;
  spec = (spec == ram_[store]->spec() ? other_ : ram_)[store]->spec();
  reload();
}

void IserWorld::resize(uint32_t store, uint64_t bytes) {
  if (bytes == sizes_[store]) return;
  moved(bytes > sizes_[store] ? "grow" : "shrink");
  sizes_[store] = bytes;
  was_cut_ = was_cut_ || bytes < whole_;
  // Otherwise a request or the next reload detects it.
  if (!chance(500)) return;
  for (const auto& each : service_->site().stores()) (void)each->refresh(0);
  service_->site().refresh_sizes();
}

void IserWorld::admit(size_t host, bool admitted) {
  moved(admitted ? "let in" : "shut out");
  admission_.change(host, admitted, reactor.now());
  ++access_changes_;
  for (uint32_t i = 0; i < kTargets; ++i) {
    iser_target::TargetConfig& target = config_.targets[i];
    target.initiators.emplace();
    for (size_t each = 0; each < hosts_.size(); ++each) {
      if (admission_.admits(each)) target.initiators->push_back({.name = IserHost::name(each)});
    }
    for (uint32_t each = 0; has_bad_peers() && each < kSlowReaders; ++each) {
      target.initiators->push_back({.name = slow_reader(each)});
    }
  }
  reload();
}

void IserWorld::change_secret() {
  moved("secret");
  ++secrets_;
  ++access_changes_;
  config_.targets[1].authentication.incoming->secret = secret();
  reload();
}

void IserWorld::reload() {
  if (absl::Status status = service_->apply(config_); !status.ok()) violate(status.ToString());
}

std::string IserWorld::serial(uint32_t target, uint16_t unit) const {
  return iser_target::names_of({}, storage::uuid_of(ram_[target * kUnits + unit]->identity()))
      .serial;
}

std::vector<uint8_t> IserWorld::naa(uint32_t target, uint16_t unit) const {
  return iser_target::names_of({}, storage::uuid_of(ram_[target * kUnits + unit]->identity())).naa;
}

void IserWorld::calm_down() {
  silent_until_ = hung_until_ = {};
  sizes_.fill(whole_);
  for (size_t i = 0; i < hosts_.size(); ++i) {
    if (!admission_.admits(i)) admit(i, true);
  }
  reload();
  for (uint32_t i = 0; i < kStores; ++i) {
    const bool own = config_.targets[i / kUnits].luns[i % kUnits].storage == ram_[i]->spec();
    if (!own) swap(i / kUnits, static_cast<uint16_t>(i % kUnits));
  }
}

void IserWorld::check_step() {
  for (const auto& store : other_) {
    if (std::ranges::any_of(store->memory(), [](std::byte byte) { return byte != std::byte{}; })) {
      violate("a write reached another's disk");
    }
  }
}

size_t IserWorld::connections() const { return service_->engine().connections(); }

std::string IserWorld::target_state() const {
  std::string text = std::to_string(connections()) + " connections, " +
                     std::to_string(service_->engine().held()) + " MRs and chunks held";
  for (const auto& target : service_->site().targets()) {
    for (uint32_t worker = 0; worker < service_->site().workers(); ++worker) {
      const auto& sessions = target->sessions(worker);
      text += "; " + std::to_string(sessions.open.size()) + " sessions and " +
              std::to_string(sessions.ending.size()) + " that end";
    }
  }
  if (strangers_ != nullptr) text += strangers_->state();
  if (bad_peers_ != nullptr) text += bad_peers_->state();
  return text;
}

void IserWorld::stop_target(std::function<void()> stopped) { service_->stop(std::move(stopped)); }

void IserWorld::check_target() {
  if (service_->engine().held() != 0) violate("the target's MRs or staging memory are lost");
  for (const auto& target : service_->site().targets()) {
    for (uint32_t worker = 0; worker < service_->site().workers(); ++worker) {
      if (!target->sessions(worker).empty()) violate("a session was left behind");
    }
    const auto table = target->units();
    for (const auto& [lun, unit] : table->units) {
      // Held by its table alone, and no write passes its gate.
      if (unit.use_count() != 1) violate("a unit is taken for one in use");
      if (!unit->volume->gate().empty()) violate("a write never left the gate");
    }
  }
}

}  // namespace mrpool::sim
