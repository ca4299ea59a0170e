/* A CUDA driver of host memory, for pycuda and cuda-bindings to call: one GPU, and streams that do their work only
   when they are waited for, with the bytes that are there by then, and in the order that events
   demand. What needs a context fails on a thread without one. Made by tests/cuda_stubs.py, which adds the functions that are not here. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
       INVALID_HANDLE = 400, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, NOT_SUPPORTED = 801 };
typedef unsigned long long address;
typedef void (*work)(void);
struct event { struct stream *stream; int asked, fired, flags; };
/* An event is reached by `fires`, and waited for by `awaits`, at its `time`. */
struct task { void *to; const void *from; int byte; size_t size; work call;
              struct event *fires, *awaits; struct stream *there; int time; struct task *next; };
struct stream { struct task *first, **last; };
struct block { char *start; size_t size; struct block *next; };

/* What was taken and not given back. */
static struct { int device, host, stream, event, context; } live;
static __thread int depth; /* contexts pushed on this thread */
static char failing[64];
static int fail_after, fail_with;
static int the_context;

void stub_fail(const char *name, int after, int with) {
    snprintf(failing, sizeof failing, "%s", name);
    fail_after = after;
    fail_with = with;
}
void stub_live(int *five) { memcpy(five, &live, sizeof live); }
int stub_depth(void) { return depth; }
enum { DEVICEMAP = 2, BLOCKING_SYNC = 1, DISABLE_TIMING = 2 };
static struct block *blocks;
size_t stub_size(char *place) { /* bytes from a place to the end of its block */
    for (struct block *one = blocks; one; one = one->next)
        if (place >= one->start && place < one->start + one->size)
            return (size_t)(one->start + one->size - place);
    return 0;
}

static int told_to_fail(const char *name) {
    return strcmp(name, failing) == 0 && fail_after-- == 0 ? fail_with : OK;
}
#define TRY(expression) do { int code_ = (expression); if (code_) return code_; } while (0)
#define BEGIN TRY(told_to_fail(__func__))
#define BEGIN_IN_CONTEXT do { BEGIN; if (!depth) return INVALID_CONTEXT; } while (0)

int cuInit(unsigned flags) { BEGIN; return flags ? INVALID_VALUE : OK; }
int cuDriverGetVersion(int *version) { *version = 12060; return OK; }
int cuGetErrorString(int code, const char **text) {
    *text = code == ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
            : code == OUT_OF_MEMORY ? "out of memory" : "the stub says no";
    return OK;
}
/* What cuda-bindings look functions up with; pycuda is linked against them. */
int cuGetProcAddress_v2(const char *name, void **found, int version, unsigned long long flags,
                        int *status) {
    char newer[128];
    (void)version; (void)flags; (void)status;
    snprintf(newer, sizeof newer, "%s_v2", name);
    *found = dlsym(RTLD_DEFAULT, newer);
    if (!*found) *found = dlsym(RTLD_DEFAULT, name);
    return *found ? OK : NOT_FOUND;
}
int cuDeviceGetCount(int *count) { BEGIN; *count = 1; return OK; }
int cuDeviceGet(int *device, int index) { *device = index; return index ? INVALID_DEVICE : OK; }
int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "Stub GPU %d", device);
    return OK;
}
int cuDeviceComputeCapability(int *major, int *minor, int device) {
    *major = 8;
    *minor = 7;
    return device ? INVALID_DEVICE : OK;
}

enum { MAJOR = 75, MINOR = 76, INTEGRATED = 18 };
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == MAJOR ? 8 : attribute == MINOR ? 7 : 0;
    if (attribute == INTEGRATED) *value = getenv("EDGEAPL_STUB_INTEGRATED") != NULL;
    return device ? INVALID_DEVICE : OK;
}
enum { MEMORY = 1 << 30 };
int cuMemGetInfo_v2(size_t *free_bytes, size_t *all) {
    if (!depth) return INVALID_CONTEXT;
    *free_bytes = *all = MEMORY;
    return OK;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    BEGIN;
    live.context++;
    *context = &the_context;
    return device ? INVALID_DEVICE : OK;
}
int cuDevicePrimaryCtxRelease_v2(int device) { live.context--; return device ? INVALID_DEVICE : OK; }
int cuCtxPushCurrent_v2(void *context) {
    BEGIN;
    if (context != &the_context) return INVALID_CONTEXT;
    depth++;
    return OK;
}
int cuCtxPopCurrent_v2(void **context) {
    if (!depth) return INVALID_CONTEXT;
    depth--;
    if (context) *context = &the_context;
    return OK;
}
int cuCtxGetDevice(int *device) { *device = 0; return depth ? OK : INVALID_CONTEXT; }

static int take(void **place, size_t size, int *count) {
    size = (size + 256) / 256 * 256; /* as the driver does; TensorRT relies on it */
    *place = aligned_alloc(256, size);
    memset(*place, 0x5A, size); /* what memory holds at first is anybody's guess */
    struct block *made = malloc(sizeof *made);
    *made = (struct block){.start = *place, .size = size, .next = blocks};
    blocks = made;
    ++*count;
    return OK;
}
static int give(void *place, int *count) {
    struct block **one = &blocks;
    while (*one && (*one)->start != (char *)place) one = &(*one)->next;
    if (!*one) return INVALID_VALUE;
    struct block *gone = *one;
    *one = gone->next;
    free(gone);
    free(place);
    --*count;
    return OK;
}

int cuMemAlloc_v2(address *place, size_t size) {
    BEGIN_IN_CONTEXT;
    void *got;
    TRY(take(&got, size, &live.device));
    *place = (address)got;
    return OK;
}
int cuMemFree_v2(address place) { BEGIN_IN_CONTEXT; return give((void *)place, &live.device); }
int cuMemHostAlloc(void **place, size_t size, unsigned flags) {
    BEGIN_IN_CONTEXT;
    return flags & ~DEVICEMAP ? INVALID_VALUE : take(place, size, &live.host);
}
int cuMemHostGetDevicePointer_v2(address *seen, void *place, unsigned flags) {
    if (!depth) return INVALID_CONTEXT;
    *seen = (address)place; /* one memory for both */
    return flags ? INVALID_VALUE : OK;
}
int cuMemFreeHost(void *place) { BEGIN_IN_CONTEXT; return give(place, &live.host); }

int cuStreamCreate(struct stream **made, unsigned flags) {
    BEGIN_IN_CONTEXT;
    *made = calloc(1, sizeof **made);
    (*made)->last = &(*made)->first;
    live.stream++;
    return flags ? INVALID_VALUE : OK;
}
static int next(struct stream *stream) {
    struct task *task = stream->first;
    if (!task) return INVALID_HANDLE; /* waited for what nobody will do */
    stream->first = task->next;
    if (!stream->first) stream->last = &stream->first;
    if (task->awaits) {
        while (task->awaits->fired < task->time) TRY(next(task->there));
    } else if (task->fires) {
        if (task->fires->fired < task->time) task->fires->fired = task->time;
    } else if (task->call) task->call();
    else if (task->from) memcpy(task->to, task->from, task->size);
    else memset(task->to, task->byte, task->size);
    free(task);
    return OK;
}
int cuStreamSynchronize(struct stream *stream) {
    BEGIN_IN_CONTEXT;
    if (!stream) return INVALID_HANDLE;
    while (stream->first) TRY(next(stream));
    return OK;
}
int cuStreamDestroy_v2(struct stream *stream) {
    BEGIN_IN_CONTEXT;
    free(stream);
    live.stream--;
    return OK;
}

static int later(struct stream *stream, struct task task) {
    if (!stream) return INVALID_HANDLE; /* the default stream: nothing of ours belongs there */
    struct task *kept = malloc(sizeof task);
    *kept = task;
    *stream->last = kept;
    stream->last = &kept->next;
    return OK;
}
int stub_enqueue(struct stream *stream, work call) {
    return later(stream, (struct task){.call = call});
}
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t size, struct stream *stream) {
    BEGIN_IN_CONTEXT;
    return later(stream, (struct task){.to = (void *)to, .from = from, .size = size});
}
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t size, struct stream *stream) {
    BEGIN_IN_CONTEXT;
    return later(stream, (struct task){.to = to, .from = (void *)from, .size = size});
}
int cuMemcpyDtoDAsync_v2(address to, address from, size_t size, struct stream *stream) {
    BEGIN_IN_CONTEXT;
    return later(stream, (struct task){.to = (void *)to, .from = (void *)from, .size = size});
}
int cuMemsetD8Async(address to, unsigned char byte, size_t size, struct stream *stream) {
    BEGIN_IN_CONTEXT;
    return later(stream, (struct task){.to = (void *)to, .byte = byte, .size = size});
}

int cuEventCreate(struct event **event, unsigned flags) {
    BEGIN_IN_CONTEXT;
    *event = calloc(1, sizeof **event);
    (*event)->flags = (int)flags;
    live.event++;
    return flags & ~(BLOCKING_SYNC | DISABLE_TIMING) ? INVALID_VALUE : OK;
}
int cuEventRecord(struct event *event, struct stream *stream) {
    BEGIN_IN_CONTEXT;
    event->stream = stream;
    return later(stream, (struct task){.fires = event, .time = ++event->asked});
}
int cuStreamWaitEvent(struct stream *stream, struct event *event, unsigned flags) {
    BEGIN_IN_CONTEXT;
    if (flags) return INVALID_VALUE;
    return later(stream, (struct task){.awaits = event, .there = event->stream, .time = event->asked});
}
int cuEventSynchronize(struct event *event) {
    BEGIN_IN_CONTEXT;
    if (!(event->flags & BLOCKING_SYNC)) return INVALID_VALUE; /* would keep a core busy */
    while (event->fired < event->asked) TRY(next(event->stream));
    return OK;
}
int cuEventElapsedTime(float *ms, struct event *first, struct event *second) {
    BEGIN_IN_CONTEXT;
    *ms = 1.0f;
    if ((first->flags | second->flags) & DISABLE_TIMING) return INVALID_HANDLE;
    return first->fired && second->fired ? OK : INVALID_HANDLE;
}
/* Not freed: work that waits for it may still be on a stream. */
int cuEventDestroy_v2(struct event *event) {
    BEGIN_IN_CONTEXT;
    live.event--;
    return event ? OK : INVALID_HANDLE;
}
