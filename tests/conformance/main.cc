// The contract of include/mrpool as a program: every test must pass on every device.
//
//   mrpool_conformance                                 the soft device on loopback
//   mrpool_conformance --device=verbs://10.77.0.1:0    a real one
//   mrpool_conformance --device='uiwarp://127.0.0.1:0?crc=off' --gtest_filter='Rights.*'
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "tests/conformance/fixture.h"

namespace {

constexpr const char* kHelp =
    "mrpool_conformance [--device=ADDRESS] [--ledger=FILE] [--patience=SECONDS]\n"
    "                   [--gtest_filter=PATTERN ...]\n"
    "\n"
    "Runs the device contract's tests on one device (default uiwarp://127.0.0.1:0).\n"
    "  --ledger=FILE       the tests each device may skip, with reasons\n"
    "  --patience=SECONDS  how long to wait for what must happen (default 120)\n";

int fail(const std::string& message) {
  std::fprintf(stderr, "mrpool_conformance: %s\n", message.c_str());
  return 2;
}

bool take(std::string_view argument, std::string_view name, std::string& value) {
  if (!argument.starts_with(name)) return false;
  value = argument.substr(name.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  std::string device = "uiwarp://127.0.0.1:0";
  std::string ledger_path = MRPOOL_LEDGER;
  std::string patience = "120";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (!take(argument, "--device=", device) && !take(argument, "--ledger=", ledger_path) &&
        !take(argument, "--patience=", patience)) {
      return fail("unknown argument '" + std::string(argument) + "' (see --help)");
    }
  }

  auto& environment = mrpool::conformance::environment();
  auto address = mrpool::Address::parse(device);
  if (!address.ok()) return fail(address.status().ToString());
  auto opened = mrpool::Device::open(*address);
  if (!opened.ok()) return fail(opened.status().ToString());
  auto ledger = mrpool::conformance::Ledger::read(ledger_path);
  if (!ledger.ok()) return fail(ledger.status().ToString());
  char* end = nullptr;
  const long seconds = std::strtol(patience.c_str(), &end, 10);
  if (*end != '\0' || seconds <= 0)
    return fail("--patience=" + patience + " is not a number of seconds");

  environment.address = *address;
  environment.device = *opened;
  environment.ledger = *ledger;
  environment.patience = std::chrono::seconds(seconds);
  return RUN_ALL_TESTS();
}
