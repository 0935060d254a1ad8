/* What the C library tells one process: another time, other addresses, a disk that fails.

   Preloaded into the gateway, whose code cannot tell it from the machine's own word. The
   page that $SHIM_STATE names is shared with the scenario (harness/shim.py), which turns the
   faults on and off while the gateway runs. The monotonic clock is left alone, as it is when
   an operator or NTP sets the time. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct state {
    volatile int64_t clock_seconds; /* added to the time of day */
    volatile int64_t disk_errno;    /* what writing below `disk` fails with; 0: it does not */
    volatile int64_t disk_millis;   /* how long writing there takes */
    volatile int64_t dns_millis;    /* how long resolving takes */
    char disk[1024];                /* a directory */
    char name[256];                 /* the one name that is answered for */
    char addresses[1024];           /* with spaces between; none: there is no such name */
};

static struct state *shared;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIM_STATE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) shared = page;
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static void wait_for(int64_t millis) {
    if (millis > 0) usleep((useconds_t)millis * 1000);
}

/* The clock. */

int clock_gettime(clockid_t clock, struct timespec *at) {
    static typeof(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    int result = real(clock, at);
    if (shared && result == 0 && clock == CLOCK_REALTIME) at->tv_sec += shared->clock_seconds;
    return result;
}

/* Names. */

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    typeof(&getaddrinfo) real = REAL(getaddrinfo);
    if (!shared || !node || !*shared->name || strcmp(node, shared->name) != 0)
        return real(node, service, hints, found);
    wait_for(shared->dns_millis);
    char addresses[sizeof shared->addresses], *rest = addresses, *address;
    memcpy(addresses, shared->addresses, sizeof addresses);
    struct addrinfo **end = found;
    *found = NULL;
    while ((address = strsep(&rest, " "))) {
        if (!*address || real(address, service, hints, end) != 0) continue;
        while (*end) end = &(*end)->ai_next;
    }
    return *found ? 0 : EAI_NONAME;
}

/* The disk. */

static int fails_below(const char *path) {
    size_t length = strlen(shared->disk);
    if (!length || strncmp(path, shared->disk, length) != 0) return 0;
    wait_for(shared->disk_millis);
    errno = (int)shared->disk_errno;
    return errno != 0;
}

static int fails(int fd) {
    if (!shared || (!shared->disk_errno && !shared->disk_millis)) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails_below(path);
}

#define GUARDED(type, name, parameters, ...)                       \
    type name parameters {                                         \
        static typeof(&name) real;                                 \
        if (!real) real = REAL(name);                              \
        return fails(fd) ? -1 : real(__VA_ARGS__);                 \
    }

GUARDED(ssize_t, write, (int fd, const void *data, size_t size), fd, data, size)
GUARDED(ssize_t, writev, (int fd, const struct iovec *parts, int count), fd, parts, count)
GUARDED(int, fsync, (int fd), fd)
GUARDED(int, fdatasync, (int fd), fd)

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        __builtin_va_list rest;
        __builtin_va_start(rest, flags);
        mode = __builtin_va_arg(rest, mode_t);
        __builtin_va_end(rest);
    }
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    int faulty = shared && (shared->disk_errno || shared->disk_millis);
    if (writes && faulty && fails_below(path)) return -1;
    return REAL(open64)(path, flags, mode);
}
