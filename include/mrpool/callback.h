// Member functions as intrusive callbacks.
//
// The library's asynchronous objects (Completion, RwOperation, Loan, Task, Timer, MrPool::Waiter)
// call a plain function with themselves as the first argument. Two helpers make that function from
// a member function:
//
//   class Session {
//     void sent(const WorkCompletion& wc);
//     Bound<Completion, &Session::sent> sent_{*this};       // a member that calls its owner
//   };
//   struct Receive : Completion {                           // a class that calls itself
//     Receive() : Completion(to_method<&Receive::received>) {}
//     void received(const WorkCompletion& wc);
//   };
//
// The member function takes what the callback takes after `self`, or nothing. It costs what the
// function written by hand costs: one indirect call, no heap, and for Bound one reference.
//
// They work for any class whose constructor takes a `void (*)(Class& self, Arguments...)` as its
// last argument. to_method needs a public base.
//
// Thread safety and ownership: those of the callback object; a Bound must not outlive its owner.
#pragma once

#include <type_traits>
#include <utility>

namespace mrpool {
namespace internal {

template <typename Member>
struct ClassOf;
template <typename Function, typename Class>
struct ClassOf<Function Class::*> {
  using type = Class;
};

template <auto Method, typename Owner, typename... Args>
void call_method(Owner& owner, Args&&... args) {
  if constexpr (std::is_invocable_v<decltype(Method), Owner&, Args...>) {
    (owner.*Method)(std::forward<Args>(args)...);
  } else {
    (owner.*Method)();
  }
}

template <typename Callback, typename... Args>
using CallbackFunction = void (*)(Callback& self, Args... args);

template <auto Method>
struct ToMethod {
  template <typename Callback, typename... Args>
  constexpr operator CallbackFunction<Callback, Args...>() const {
    return [](Callback& self, Args... args) {
      using Owner = typename ClassOf<decltype(Method)>::type;
      call_method<Method>(static_cast<Owner&>(self), std::forward<Args>(args)...);
    };
  }
};

}  // namespace internal

// The callback function of a class that derives from the callback class.
template <auto Method>
inline constexpr internal::ToMethod<Method> to_method{};

// A callback object that calls `Method` of its owner. `args` are the arguments of Callback's
// constructor before the function: a Waiter's and a Loan's reactor.
template <typename Callback, auto Method>
class Bound final : public Callback {
 public:
  // The class that `Method` belongs to.
  using Owner = typename internal::ClassOf<decltype(Method)>::type;

  // `owner` must outlive this object.
  template <typename... Args>
  explicit constexpr Bound(Owner& owner, Args&&... args)
      : Callback(std::forward<Args>(args)..., ToOwner()), owner_(owner) {}

  // The object whose method is called.
  Owner& owner() const { return owner_; }

 private:
  struct ToOwner {
    // Base: Callback, or the base class whose constructor it has inherited.
    template <typename Base, typename... Args>
    constexpr operator internal::CallbackFunction<Base, Args...>() const {
      return [](Base& self, Args... args) {
        internal::call_method<Method>(static_cast<Bound&>(self).owner_,
                                      std::forward<Args>(args)...);
      };
    }
  };

  Owner& owner_;
};

}  // namespace mrpool
