// How an ABI structure that a program holds leads to the object it stands for.
//
// The program sees the first member, whose layout is libibverbs' or librdmacm's; the pointer after
// it is ours. A null pointer leads to a null object, so that an ABI function can refuse it.
//
// Ownership: the object owns its Handle. Thread safety: as the object.
#pragma once

#include <type_traits>

namespace mrpool::provider {

template <class Abi, class Object>
struct Handle {
  Abi abi{};
  Object* object = nullptr;

  static Object* from(Abi* abi) {
    static_assert(std::is_standard_layout_v<Handle>);
    return abi == nullptr ? nullptr : reinterpret_cast<Handle*>(abi)->object;
  }
};

}  // namespace mrpool::provider
