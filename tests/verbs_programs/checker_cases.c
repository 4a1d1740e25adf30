// Programs that the checker has to cope with: checker_cases CASE. checker_test.py runs them.
#include <fcntl.h>
#include <pthread.h>
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
  return 0;
}
