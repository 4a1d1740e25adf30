// The files of the status page; the build embeds them in the program (page/, embed.cmake).
//
// Thread safety: constants.
#pragma once

#include <span>
#include <string_view>

namespace mrpool::metrics {

struct PageFile {
  std::string_view path;  // as requested by a browser
  std::string_view type;
  std::string_view content;
};

std::span<const PageFile> page_files();

}  // namespace mrpool::metrics
