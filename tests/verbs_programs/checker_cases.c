// Programs that the checker has to cope with: checker_cases CASE. checker_test.py runs them.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zoo/ends.h"

// An MR with two rights that nobody uses.
static void make_region(struct pair* pair) {
  char* buffer = new_buffer(kBytes);
  ibv_dereg_mr(
      register_buffer(pair, buffer, kBytes, IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ));
  free(buffer);
}

static void rights(void) {
  struct pair pair;
  open_pair(&pair, kDepth);
  make_region(&pair);
  close_pair(&pair);
}

// Standard error is closed, and its number is another file's, which `rights` is not to write to.
static void closed_stderr(const char* file) {
  fclose(stderr);
  check(open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600) == STDERR_FILENO, "open");
  rights();
}

static volatile int stop = 0;
static struct message message;

static void* send_all_the_time(void* ignored) {
  (void)ignored;
  while (!stop) {
    post_message_receive(&message);
    post_message_send(&message);
    wait_for(message.pair.b.cq);
    wait_for(message.pair.a.cq);
  }
  return NULL;
}

// Children that look at guarded memory, while another thread works with the device.
static void forks(void) {
  open_message(&message);
  pthread_t thread;
  check(pthread_create(&thread, NULL, send_all_the_time, NULL) == 0, "pthread_create");
  for (int i = 0; i < 100; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      int sum = 0;
      for (int at = 0; at < kBytes; at += 8) sum += ((volatile char*)message.to)[at];
      _exit(sum);
    }
    int status = -1;
    check(waitpid(child, &status, 0) == child && status == 0, "a child ends with 0");
  }
  stop = 1;
  pthread_join(thread, NULL);
  close_message(&message);
}

// Looks at a byte of a message whose completion it has not polled.
static void look_early(void) {
  open_message(&message);
  message.from[0] = 1;
  post_message_receive(&message);
  post_message_send(&message);
  while (*(volatile char*)message.to == 0) continue;  // EARLY
}

static void child_looks_early(void) {
  const pid_t child = fork();
  if (child == 0) {
    look_early();
    _exit(0);
  }
  int status = -1;
  check(waitpid(child, &status, 0) == child && status == 0, "the child ends with 0");
}

// A fault that concerns no RDMA.
static void write_beyond(void) {
  volatile char* const block = malloc(kBytes);
  block[kBytes] = 1;  // BEYOND
  free((char*)block);
}

static void* exchange_and_close(void* ignored) {
  (void)ignored;
  while (!stop) sched_yield();  // main() is about to be gone
  post_message_receive(&message);
  post_message_send(&message);
  wait_for(message.pair.b.cq);
  wait_for(message.pair.a.cq);
  close_message(&message);
  puts("exchanged");
  return NULL;
}

static void say_stop(void* ignored) {
  (void)ignored;
  stop = 1;
}

// main() ends by pthread_exit(), a thread of the program goes on for a while; the process ends with it.
static void leave_main(void) {
  open_message(&message);
  pthread_t thread;
  check(pthread_create(&thread, NULL, exchange_and_close, NULL) == 0, "pthread_create");
  pthread_key_t key;
  check(pthread_key_create(&key, say_stop) == 0, "pthread_key_create");
  pthread_setspecific(key, &message);
  pthread_exit(NULL);
}

// A key by which a peer writes the memory of an MR.
struct reach {
  uint32_t rkey;
  uint64_t address;  // of its first byte
};

static struct reach through_window(struct pair* pair, struct ibv_mr* mr, struct ibv_mw* window,
                                   unsigned rights) {
  struct ibv_mw_bind bind = {
      .send_flags = IBV_SEND_SIGNALED,
      .bind_info = {.mr = mr,
                    .addr = (uintptr_t)mr->addr,
                    .length = mr->length,
                    .mw_access_flags = rights},
  };
  check(ibv_bind_mw(pair->a.qp, window, &bind) == 0, "ibv_bind_mw");
  wait_for(pair->a.cq);
  return (struct reach){window->rkey, (uintptr_t)mr->addr};
}

// Request and answer in the same bytes: `a` SENDs them, `b` overwrites them with its answer by a
// WRITE with immediate data. The SEND has no completion of its own: the answer covers it.
static void answer_in_place(struct pair* pair, struct ibv_mr* mr, struct reach reach) {
  char* elsewhere = new_buffer(kBytes);
  memset(elsewhere, 7, kBytes);
  struct ibv_mr* other = register_buffer(pair, elsewhere, kBytes, 0);
  struct request request, told, ask, answer;
  struct ibv_recv_wr* bad_receive;
  struct ibv_send_wr* bad;
  receive_of(&request, other, 1);
  check(ibv_post_recv(pair->b.qp, &request.receive, &bad_receive) == 0, "ibv_post_recv");
  receive_of(&told, mr, 2)->num_sge = 0;
  check(ibv_post_recv(pair->a.qp, &told.receive, &bad_receive) == 0, "ibv_post_recv");
  send_of(&ask, mr, 3)->send_flags = 0;
  ask.sge.addr = reach.address;
  check(ibv_post_send(pair->a.qp, &ask.send, &bad) == 0, "ibv_post_send");
  wait_for(pair->b.cq);
  memset(elsewhere, 7, kBytes);
  write_of(&answer, other, reach.rkey, reach.address, 4)->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  check(ibv_post_send(pair->b.qp, &answer.send, &bad) == 0, "ibv_post_send");
  wait_for(pair->a.cq);
  wait_for(pair->b.cq);
  check(((char*)mr->addr)[kBytes - 1] == 7, "the answer is there");
  ibv_dereg_mr(other);
  free(elsewhere);
}

// The peer's key is a window's.
static void window(void) {
  struct pair pair;
  open_pair(&pair, kDepth);
  char* buffer = new_buffer(kBytes);
  struct ibv_mr* mr = register_buffer(&pair, buffer, kBytes, IBV_ACCESS_MW_BIND);
  struct ibv_mw* mw = ibv_alloc_mw(pair.pd, IBV_MW_TYPE_1);
  check(mw != NULL, "ibv_alloc_mw");
  answer_in_place(&pair, mr, through_window(&pair, mr, mw, IBV_ACCESS_REMOTE_WRITE));
  ibv_dealloc_mw(mw);
  ibv_dereg_mr(mr);
  free(buffer);
  close_pair(&pair);
}

// The peer names bytes by their offset.
static void offsets(void) {
  struct pair pair;
  open_pair(&pair, kDepth);
  char* buffer = new_buffer(kBytes);
  struct ibv_mr* mr = ibv_reg_mr_iova(pair.pd, buffer, kBytes, 0,
                                      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  check(mr != NULL, "ibv_reg_mr_iova");
  answer_in_place(&pair, mr, (struct reach){mr->rkey, 0});
  ibv_dereg_mr(mr);
  free(buffer);
  close_pair(&pair);
}

// A peer writes by the key of a window that lets it read only.
static void closed_window(void) {
  struct pair pair;
  open_pair(&pair, kDepth);
  char* buffer = new_buffer(kBytes);
  struct ibv_mr* mr = register_buffer(&pair, buffer, kBytes, IBV_ACCESS_MW_BIND);
  struct ibv_mw* mw = ibv_alloc_mw(pair.pd, IBV_MW_TYPE_1);
  check(mw != NULL, "ibv_alloc_mw");
  const struct reach reach = through_window(&pair, mr, mw, IBV_ACCESS_REMOTE_READ);
  struct request write;
  struct ibv_send_wr* bad;
  write_of(&write, mr, reach.rkey, reach.address, 1);
  check(ibv_post_send(pair.b.qp, &write.send, &bad) == 0, "ibv_post_send");
  wait_for_any(pair.b.cq);
  ibv_dealloc_mw(mw);
  ibv_dereg_mr(mr);
  free(buffer);
  close_pair(&pair);
}

int main(int argc, char** argv) {
  check(argc >= 2, "usage: checker_cases CASE");
  if (strcmp(argv[1], "rights") == 0) rights();
  if (strcmp(argv[1], "closed-stderr") == 0) closed_stderr(argv[2]);
  if (strcmp(argv[1], "forks") == 0) forks();
  if (strcmp(argv[1], "child-looks-early") == 0) child_looks_early();
  if (strcmp(argv[1], "looks-early-and-is-killed") == 0) {
    look_early();
    kill(getpid(), SIGKILL);
  }
  if (strcmp(argv[1], "writes-beyond") == 0) write_beyond();
  if (strcmp(argv[1], "leave-main") == 0) leave_main();
  if (strcmp(argv[1], "leave-main-alone") == 0) {
    rights();
    pthread_exit(NULL);
  }
  if (strcmp(argv[1], "window") == 0) window();
  if (strcmp(argv[1], "offsets") == 0) offsets();
  if (strcmp(argv[1], "closed-window") == 0) closed_window();
  return 0;
}
