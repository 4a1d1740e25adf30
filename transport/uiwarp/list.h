// An intrusive doubly linked list: membership without allocation, removal without search.
//
// Thread safety: none; a list and its members belong to one thread.
#pragma once

namespace mrpool::uiwarp {

struct ListNode {
  ListNode* next = nullptr;
  ListNode* prev = nullptr;

  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next != nullptr; }
  void unlink() {
    if (!linked()) return;
    next->prev = prev;
    prev->next = next;
    next = prev = nullptr;
  }
};

// Member: the ListNode of T that this list runs through. Destroying a list unlinks its members.
template <typename T, ListNode T::*Member>
class List {
 public:
  List() { head_.next = head_.prev = &head_; }
  ~List() {
    while (!empty()) head_.next->unlink();
    head_.next = head_.prev = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next == &head_; }
  void push_back(T& item) {
    ListNode& node = item.*Member;
    node.unlink();
    node.prev = head_.prev;
    node.next = &head_;
    head_.prev->next = &node;
    head_.prev = &node;
  }
  T* front() { return empty() ? nullptr : owner(head_.next); }
  T* pop_front() {
    T* item = front();
    if (item != nullptr) (item->*Member).unlink();
    return item;
  }
  // Moves all members of `from` to the end of this list.
  void take(List& from) {
    while (T* item = from.pop_front()) push_back(*item);
  }
  // Calls visit(T&) for each; visit may unlink the one it is given and no other.
  template <typename Visit>
  void for_each(Visit&& visit) {
    for (ListNode* node = head_.next; node != &head_;) {
      ListNode* const next = node->next;
      visit(*owner(node));
      node = next;
    }
  }

 private:
  static T* owner(ListNode* node) {
    // Where Member lies in T, found on storage that is never read.
    alignas(T) static char storage[sizeof(T)];
    const T* base = reinterpret_cast<const T*>(storage);
    const auto offset = reinterpret_cast<const char*>(&(base->*Member)) - storage;
    return reinterpret_cast<T*>(reinterpret_cast<char*>(node) - offset);
  }

  ListNode head_;
};

}  // namespace mrpool::uiwarp
