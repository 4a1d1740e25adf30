#include "transport/uiwarp/open.h"

#include <random>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "mrpool/tls.h"
#include "transport/uiwarp/device.h"

namespace mrpool {
namespace uiwarp {

namespace {

uint64_t drawn_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// Null: another transport's.
const UiwarpDevice* to_uiwarp(const Device& device) {
  return dynamic_cast<const UiwarpDevice*>(&device);
}

}  // namespace

absl::StatusOr<DeviceOptions> parse_options(std::string_view text, const DeviceOptions& base) {
  DeviceOptions options = base;
  if (text.empty()) return options;
  for (absl::string_view part : absl::StrSplit(absl::string_view(text.data(), text.size()), '&')) {
    const std::pair<absl::string_view, absl::string_view> option =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    const absl::string_view name = option.first;
    const absl::string_view value = option.second;
    const auto bad = [&](absl::string_view allowed) {
      return absl::InvalidArgumentError(
          absl::StrCat("uiwarp option ", name, "=", value, ": expected ", allowed));
    };
    if (name == "crc") {
      if (value != "on" && value != "off") return bad("crc=on or crc=off");
      options.crc = value == "on";
    } else if (name == "placement") {
      if (value != "direct" && value != "adversarial") {
        return bad("placement=direct or placement=adversarial");
      }
      options.adversarial_placement = value == "adversarial";
    } else if (name == "extensions") {
      if (value != "on" && value != "off") return bad("extensions=on or extensions=off");
      options.extensions = value == "on";
    } else if (name == "poison") {
      if (value != "on" && value != "off") return bad("poison=on or poison=off");
      options.poison = value == "on";
    } else if (name == "seed") {
      uint64_t seed = 0;
      if (!absl::SimpleAtoi(value, &seed)) return bad("seed=NUMBER");
      options.seed = seed;
    } else if (const absl::Status status = set_tls_option(
                   {name.data(), name.size()}, {value.data(), value.size()}, options.tls);
               absl::IsNotFound(status)) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown uiwarp option \"", name,
                       "\"; there are crc, extensions, placement, poison, seed, ",
                       absl::string_view(kTlsOptionNames.data(), kTlsOptionNames.size())));
    } else if (!status.ok()) {
      return status;
    }
  }
  if (options.poison && !options.adversarial_placement) {
    return absl::InvalidArgumentError("uiwarp option poison=on needs placement=adversarial");
  }
  if (absl::Status status = check_tls_options(options.tls); !status.ok()) return status;
  return options;
}

std::shared_ptr<Device> make_device(const DeviceOptions& options,
                                    std::shared_ptr<Network> network) {
  const uint64_t seed = options.seed.has_value() ? *options.seed : drawn_seed();
  return std::make_shared<UiwarpDevice>(options, seed, std::move(network));
}

}  // namespace uiwarp

absl::Status reload_tls(const Device& device) {
  const uiwarp::UiwarpDevice* soft = uiwarp::to_uiwarp(device);
  return soft == nullptr ? absl::OkStatus() : soft->network().reload();
}

absl::Status check_tls_accepts(const Device& device) {
  const uiwarp::UiwarpDevice* soft = uiwarp::to_uiwarp(device);
  return soft == nullptr ? absl::OkStatus() : soft->network().check_accepts();
}

std::optional<OrderingReport> ordering_report(const Device& device) {
  const uiwarp::UiwarpDevice* soft = uiwarp::to_uiwarp(device);
  if (soft == nullptr || soft->sanitizer() == nullptr) return std::nullopt;
  return soft->sanitizer()->report();
}

}  // namespace mrpool
