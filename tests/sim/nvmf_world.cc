#include "tests/sim/nvmf_world.h"

#include <algorithm>
#include <utility>

#include "tests/sim/nvmf_host.h"
#include "tests/sim/storage.h"
#include "tests/sim/volume.h"

namespace mrpool::sim {

namespace {

constexpr std::string_view kOwn = ",name=own";
constexpr std::string_view kOther = ",name=other";
constexpr std::string_view kLock = ",name=lock";
constexpr const char* kNobody = "nqn.2026-11.org.mrpool:nobody";
constexpr const char* kStrangers = "nqn.2026-11.org.mrpool:strangers-have-their-own";
std::string slow_reader(uint32_t number) {
  return "nqn.2026-11.org.mrpool:slow-" + std::to_string(number);
}
nvmf_target::NamespaceConfig namespace_of(uint32_t nsid, const storage::Volume& store) {
  return {.nsid = nsid, .storage = store.spec(), .block_size = kBlockBytes, .uuid = {}};
}
// Blocks that nobody uses, by which a store may be larger.
constexpr uint32_t kSpareBlocks = 64;

}  // namespace

std::vector<std::string_view> NvmfWorld::all_moves() const {
  return {"break",          "drop",         "reset",          "network",
          "hang",           "swap",         "abort",          "aborted late",
          "aborted not",    "refused",      "another's disk", "grow",
          "shrink",         "new size",     "beyond the end", "shut out",
          "let in",         "not allowed",  "visit",          "connected",
          "not connected",  "data",         "slow reader",    "silent",
          "stops half-way", "refused peer", "flood",          "compare and write",
          "compare failed", "copied"};
}

NvmfWorld::NvmfWorld(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : AttackedWorld(seed_in, plant_in, violated_in) {
  const auto target_device = open_target_device();

  const uint32_t count = 1 + static_cast<uint32_t>(below(3));
  const uint32_t blocks = count * NvmfHost::kBlocks;
  whole_ = size_ = uint64_t{blocks} * kBlockBytes;
  admission_ = Admission(count);
  const std::string memory = "ram:" + std::to_string(whole_ + kSpareBlocks * kBlockBytes);
  for (auto [volume, name] : {std::pair{&ram_, kOwn}, std::pair{&other_, kOther}}) {
    auto ram = storage::open(memory + std::string(name), {.block_size = 512});
    if (!ram.ok()) violate(ram.status().ToString());
    *volume = std::move(*ram);
  }
  for (uint32_t i = 0; i < blocks; ++i) stamp(block(i), i, 0);
  make_lock();

  // Little of everything, so that commands wait for it.
  nvmf_target::Service::Options options;
  options.engine.threads = workers_ = 1 + static_cast<uint32_t>(below(2));
  options.engine.staging = engine::kChunk * (1 + below(4));
  options.engine.mrs = 1 + static_cast<uint32_t>(below(4));
  options.engine.force_mr = chance(200);
  if (has_bad_peers()) share_out(options.engine);
  options.open_device = [target_device](const Address&) { return target_device; };
  SimVolumeOptions storage = bad_storage(*this);
  storage.hung_until = &hung_until_;
  in_place_ = storage.gather;
  SimVolumeOptions resizable = storage;
  resizable.size = &size_;
  SimVolumeOptions locked = storage;
  locked.stale_reads = true;
  // A store has one volume, as a file has by its lock: what is late in it stays known.
  options.open_volume =
      [own = make_sim_volume(ram_, *this, resizable),
       other = make_sim_volume(other_, *this, storage),
       lock = make_sim_volume(lock_store_, *this, locked)](
          std::string_view spec,
          const storage::OpenOptions& how) -> absl::StatusOr<std::shared_ptr<storage::Volume>> {
    if (spec.ends_with(kLock)) return lock;
    if (!spec.ends_with(kOwn) && !spec.ends_with(kOther)) return storage::open(spec, how);
    const auto& volume = spec.ends_with(kOwn) ? own : other;
    (void)volume->refresh(0);  // who opens a store looks at it
    return volume;
  };
  service_ = std::make_unique<nvmf_target::Service>(options);
  config_.listen = {"uiwarp://127.0.0.1:4420"};
  nvmf_target::SubsystemConfig subsystem;
  subsystem.nqn = NvmfHost::kSubsystem;
  subsystem.namespaces = {namespace_of(1, *ram_), namespace_of(LockBlock::kNsid, *lock_store_)};
  config_.subsystems.push_back(std::move(subsystem));
  const bool strangers = chance(300);
  if (strangers) {
    config_.subsystems.push_back({.nqn = kStrangers, .serial = {}, .hosts = {}, .namespaces = {}});
    config_.subsystems.back().namespaces.push_back(
        {.nsid = 1, .storage = "ram:128KiB,name=strangers", .block_size = 512, .uuid = {}});
  }
  absl::Status status = nvmf_target::complete(config_);
  for (uint32_t i = 0; i < options.engine.threads && status.ok(); ++i) {
    status = service_->add_worker(reactor);
  }
  if (status.ok()) status = service_->apply(config_);
  if (!status.ok()) violate("the target does not start: " + status.ToString());
  for (uint32_t i = 0; i < count; ++i) hosts_.push_back(std::make_unique<NvmfHost>(*this, i));
  if (strangers) invite_strangers();
  if (has_bad_peers()) expect_bad_peers();
}

void NvmfWorld::make_lock() {
  auto lock_store =
      storage::open("ram:" + std::to_string(LockBlock::kBlocks * kBlockBytes) + std::string(kLock),
                    {.block_size = kBlockBytes});
  if (!lock_store.ok()) violate(lock_store.status().ToString());
  lock_store_ = std::move(*lock_store);
  stamp(lock_store_->memory().first(kBlockBytes), 0, 0);
}

// Slow readers are admitted; the others are refused.
void NvmfWorld::expect_bad_peers() {
  admit(0, true);
  bad_peers_ = std::make_unique<BadVisitors<NvmfVisitor>>(
      *this, uint16_t{4420}, [](BadKind kind, uint32_t number) {
        const bool admitted = kind == BadKind::kSlowReader;
        return NvmfVisitorOptions{.host = admitted ? slow_reader(number) : kNobody,
                                  .subsystem = NvmfHost::kSubsystem,
                                  .counted = false,
                                  .reads_only = true,
                                  .patience = kPatienceOfBadPeers};
      });
}

void NvmfWorld::invite_strangers() {
  strangers_ = std::make_unique<Strangers<NvmfVisitor>>(
      *this, 1 + static_cast<uint32_t>(below(2)), [](uint32_t number) {
        return NvmfVisitorOptions{
            .host = "nqn.2026-11.org.mrpool:stranger-" + std::to_string(number),
            .subsystem = kStrangers,
            .counted = false};
      });
}

void NvmfWorld::go_on() {
  if (strangers_ != nullptr && hosts_[0]->opened()) strangers_->step();
}

NvmfWorld::~NvmfWorld() {
  strangers_.reset();
  bad_peers_.reset();
  hosts_.clear();
  service_.reset();
}

std::span<std::byte> NvmfWorld::block(uint32_t number) {
  return ram_->memory().subspan(size_t{number} * kBlockBytes, kBlockBytes);
}

void NvmfWorld::disturb() {
  if (below(1'000'000) >= 800) return;
  NvmfHost& host = *hosts_[below(hosts_.size())];
  switch (below(10)) {
    case 0:
      moved("break");
      network->break_one();
      break;
    case 1:
      host.kill();
      break;
    case 2:
      host.reset();
      break;
    case 3:
      moved("network");
      network->set_options(bad_network());
      break;
    case 4:
      if (chance(500)) hang();
      break;
    case 5:
    case 6:
      host.abort();
      break;
    case 7:
      if (chance(500)) swap();
      break;
    case 8:
      resize((below(whole_ / kBlockBytes + kSpareBlocks) + 1) * kBlockBytes);
      break;
    case 9: {
      const size_t which = below(hosts_.size());
      admit(which, !admission_.admits(which));
      break;
    }
  }
}

// Longer than the target's patience, and shorter than a host waits for an answer to an admin
// command: with less staging memory than any daemon takes, that one may have to wait for the store.
void NvmfWorld::hang() {
  const Nanoseconds now = reactor.now();
  constexpr Nanoseconds kBetween = std::chrono::seconds(1);
  if (now < hung_until_ + kBetween) return;
  moved("hang");
  hung_until_ = now + Nanoseconds(below(chance(300) ? 100'000'000 : 8'000'000'000));
  for (const auto& host : hosts_) {
    if (chance(900)) host->abort();
  }
}

void NvmfWorld::swap() {
  moved("swap");
  std::string& spec = config_.subsystems[0].namespaces[0].storage;
  spec = (spec == ram_->spec() ? other_ : ram_)->spec();
  reload();
}

void NvmfWorld::resize(uint64_t bytes) {
  if (bytes == size_) return;
  moved(bytes > size_ ? "grow" : "shrink");
  size_ = bytes;
  was_cut_ = was_cut_ || bytes < whole_;
  // Otherwise a request or the next reload detects it.
  if (!chance(500)) return;
  for (const auto& store : service_->stores()) (void)store->refresh(0);
  service_->target().refresh_sizes();
}

void NvmfWorld::admit(size_t host, bool admitted) {
  moved(admitted ? "let in" : "shut out");
  admission_.change(host, admitted, reactor.now());
  auto& hosts = config_.subsystems[0].hosts;
  hosts.emplace();
  for (size_t i = 0; i < hosts_.size(); ++i) {
    if (admission_.admits(i)) hosts->insert(NvmfHost::nqn(static_cast<uint32_t>(i)));
  }
  if (has_bad_peers()) {
    for (uint32_t i = 0; i < kSlowReaders; ++i) hosts->insert(slow_reader(i));
  }
  reload();
}

void NvmfWorld::reload() {
  if (absl::Status status = service_->apply(config_); !status.ok()) violate(status.ToString());
}

void NvmfWorld::calm_down() {
  hung_until_ = {};
  size_ = whole_;
  for (size_t i = 0; i < hosts_.size(); ++i) {
    if (!admission_.admits(i)) admit(i, true);
  }
  reload();
  if (config_.subsystems[0].namespaces[0].storage != ram_->spec()) swap();
}

void NvmfWorld::check_step() {
  if (std::ranges::any_of(other_->memory(), [](std::byte byte) { return byte != std::byte{}; })) {
    violate("a write reached another's disk");
  }
  lock_.check(lock_store_->memory().first(kBlockBytes));
}

void NvmfWorld::connect() {
  for (const auto& host : hosts_) host->open();
  run_until("the hosts to connect", all([](const NvmfHost& host) { return host.opened(); }));
}

std::string NvmfWorld::target_state() const {
  if (service_ == nullptr) return "not there";
  std::string text = std::to_string(size_ / kBlockBytes) + " blocks, " +
                     std::to_string(service_->engine().connections()) + " connections, " +
                     std::to_string(service_->target().controllers()) + " controllers";
  for (const engine::DeviceContext* target : service_->engine().devices()) {
    if (target->pool() == nullptr) continue;
    const MrPoolStats stats = target->pool()->stats();
    text += ", " + std::to_string(stats.in_use) + " of " + std::to_string(stats.size) + " MRs out";
  }
  for (uint32_t i = 0; i < workers_; ++i) {
    const engine::Staging& staging = service_->engine().worker(i).staging();
    text += ", " + std::to_string(staging.available()) + " of " + std::to_string(staging.total()) +
            " staging chunks free";
  }
  if (strangers_ != nullptr) text += strangers_->state();
  if (bad_peers_ != nullptr) text += bad_peers_->state();
  return text;
}

void NvmfWorld::check_target() {
  check_step();
  if (service_->target().controllers() != 0) violate("a controller was left behind");
  for (const engine::DeviceContext* target : service_->engine().devices()) {
    if (target->pool() != nullptr && target->pool()->stats().in_use != 0) {
      violate("the target's pool has MRs out");
    }
  }
}

void NvmfWorld::stop_target(std::function<void()> stopped) { service_->stop(std::move(stopped)); }

void NvmfWorld::check_stopped() {
  for (uint32_t i = 0; i < workers_; ++i) {
    if (service_->engine().worker(i).staging().in_use() != 0) violate("staging memory is lost");
  }
}

}  // namespace mrpool::sim
