// A driver of CUDA without a device, for tests: `libcuda.so.1` with the functions that the operator library takes, as strict as
// the manual of the driver allows. Memory of its devices is the host's; PTX runs through `ptx.py` and the C++ compiler. A
// device that runs nothing takes code of its architecture.
//
// FAKE_CUDA_LOG       a file that gets a line for every call
// FAKE_CUDA_FAIL      NAME=CODE: this function fails so; NAME=CODE@N: its N-th call
// FAKE_CUDA_DEVICE    RELEASE,CAPABILITY,SHARED,POOLS, such as 12,90,232448,1
// FAKE_CUDA_TOOLS     the directory of `ptx.py`
// FAKE_CUDA_BUILT     a directory for what was built, which the next process takes
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "kernel.h"

#define API extern "C" __attribute__((visibility("default")))
enum { SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT };
enum { UNSUPPORTED = 222, INVALID_HANDLE = 400, NOT_FOUND = 500, OUT_OF_RESOURCES = 701 };
enum { DEVICES = 2, CODE_OF_DEVICE = 190 };

using Run = void (*)(const Kernel *, const void *, unsigned, unsigned, unsigned);
struct Module { int device; void *library; };
struct Function { Module *module; std::string name; const Kernel *kernel; unsigned dynamic; };
struct Pool { int device; };
struct Memory { Pool *pool; void *stream; size_t bytes; };
struct Properties { int type, handles, location, device; uint64_t rest[9]; };

static std::recursive_mutex mutex;
static bool initialised;
static int contexts[DEVICES];
static thread_local std::vector<void *> current;
static std::map<void *, Memory> memory;
static std::map<std::string, int> calls;
static struct { int release = 12, capability = 130, shared = 232448, pools = 1; } made_of;

static void log(const char *format, ...) {
    const char *path = getenv("FAKE_CUDA_LOG");
    FILE *file = path ? fopen(path, "a") : nullptr;
    if (!file) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    fprintf(file, "\n");
    fclose(file);
}

// What is not as the manual says: logged, so that a test finds it also where the caller does not look at the result.
static int wrong(int code, const char *why) {
    log("wrong: %s", why);
    return code;
}

static int failure(const std::string &name) {
    const int count = ++calls[name];
    const char *wanted = getenv("FAKE_CUDA_FAIL");
    if (!wanted || strncmp(wanted, name.c_str(), name.size()) != 0 || wanted[name.size()] != '=') return SUCCESS;
    const char *at = strchr(wanted, '@');
    return at && atoi(at + 1) != count ? SUCCESS : atoi(wanted + name.size() + 1);
}

// Every function begins with this: it may be told to fail, and is no use before cuInit.
#define BEGIN                                                           \
    std::lock_guard<std::recursive_mutex> guard(mutex);                 \
    if (const int code = failure(__func__)) return log("%s fails", __func__), code; \
    if (!initialised) return wrong(NOT_INITIALIZED, __func__);

static int device_of(void *context) { return context ? (int)((int *)context - contexts) : -1; }
static int here() { return current.empty() ? -1 : device_of(current.back()); }
// The shim that stands for the provider numbers its streams so.
static bool streams(void *stream, int device) { return (uintptr_t)stream == 0x5000u + device; }

__attribute__((constructor)) static void start() {
    if (const char *given = getenv("FAKE_CUDA_DEVICE"))
        sscanf(given, "%d,%d,%d,%d", &made_of.release, &made_of.capability, &made_of.shared, &made_of.pools);
}

API int cuInit(unsigned flags) {
    std::lock_guard<std::recursive_mutex> guard(mutex);
    if (const int code = failure("cuInit")) return code;
    initialised = true;
    return flags == 0 ? SUCCESS : wrong(INVALID_VALUE, "flags of cuInit");
}

API int cuGetErrorName(int code, const char **name) {
    static std::map<int, std::string> names;
    if (code > 999) return *name = nullptr, INVALID_VALUE;
    std::lock_guard<std::recursive_mutex> guard(mutex);
    *name = names.emplace(code, "CUDA_ERROR_" + std::to_string(code)).first->second.c_str();
    return SUCCESS;
}

API int cuDriverGetVersion(int *version) { return *version = made_of.release * 1000 + 90, SUCCESS; }

// NVRTC asks for it, and does without.
API int cuGetExportTable(const void **table, const void *) { return *table = nullptr, NOT_FOUND; }

API int cuDeviceGet(int *device, int ordinal) {
    BEGIN
    if (ordinal < 0 || ordinal >= DEVICES) return INVALID_DEVICE;
    return *device = ordinal, SUCCESS;
}

API int cuDeviceGetAttribute(int *value, int which, int device) {
    BEGIN
    if (device < 0 || device >= DEVICES) return wrong(INVALID_DEVICE, "an attribute of no device");
    switch (which) {
        case 75: return *value = made_of.capability / 10, SUCCESS;
        case 76: return *value = made_of.capability % 10, SUCCESS;
        case 97: return *value = made_of.shared, SUCCESS;
        case 115: return *value = made_of.pools, SUCCESS;
        default: return wrong(INVALID_VALUE, "an attribute that the fake does not have");
    }
}

API int cuDevicePrimaryCtxRetain(void **context, int device) {
    BEGIN
    log("context of device %d", device);
    return *context = &contexts[device], SUCCESS;
}

API int cuCtxPushCurrent_v2(void *context) {
    BEGIN
    if (device_of(context) < 0) return wrong(INVALID_CONTEXT, "push of no context");
    return current.push_back(context), SUCCESS;
}

API int cuCtxPopCurrent_v2(void **context) {
    BEGIN
    if (current.empty()) return wrong(INVALID_CONTEXT, "pop without push");
    *context = current.back();
    return current.pop_back(), SUCCESS;
}

// PTX to a library of the host.
static void *built(const std::string &text) {
    const char *tools = getenv("FAKE_CUDA_TOOLS"), *directory = getenv("FAKE_CUDA_BUILT");
    if (!tools || !directory) return nullptr;
    const std::string place = std::string(directory) + "/" + std::to_string(std::hash<std::string>()(text));
    const std::string library = place + ".so", flags = " -std=c++20 -O0 -w -shared -fPIC -I";
    if (access(library.c_str(), R_OK) != 0) {
        FILE *file = fopen((place + ".ptx").c_str(), "w");
        if (!file) return nullptr;
        fputs(text.c_str(), file);
        fclose(file);
        const std::string python = std::string("python3 ") + tools + "/ptx.py < " + place + ".ptx > " + place + ".cpp";
        const std::string compiler = "c++" + flags + tools + " -o " + library + " " + place + ".cpp";
        if (system((python + " && " + compiler).c_str()) != 0) return nullptr;
    }
    return dlopen(library.c_str(), RTLD_NOW);
}

API int cuModuleLoadData(void **module, const void *image) {
    BEGIN
    if (here() < 0) return wrong(INVALID_CONTEXT, "a module without a context");
    const char *bytes = (const char *)image;
    auto *made = new Module{here(), nullptr};
    if (memcmp(bytes, "\x7f" "ELF", 4) == 0) {
        if (*(const uint16_t *)(bytes + 18) != CODE_OF_DEVICE) return wrong(INVALID_IMAGE, "code of no device of CUDA");
        log("module of device %d, code", made->device);
    } else {
        if (memcmp(bytes, "//", 2) != 0 || !(made->library = built(bytes))) return wrong(INVALID_IMAGE, "PTX that is none");
        log("module of device %d, PTX", made->device);
    }
    return *module = made, SUCCESS;
}

API int cuModuleGetFunction(void **function, void *module, const char *name) {
    BEGIN
    auto *of = (Module *)module;
    const Kernel *kernel = of->library ? (const Kernel *)dlsym(of->library, name) : nullptr;
    if (of->library && !kernel) return wrong(NOT_FOUND, name);
    return *function = new Function{of, name, kernel, 0}, SUCCESS;
}

API int cuFuncSetAttribute(void *function, int which, int value) {
    BEGIN
    auto *of = (Function *)function;
    const int own = of->kernel ? of->kernel->shared : 0;
    if (which != 8) return wrong(INVALID_VALUE, "an attribute of a function that the fake does not have");
    if (value < 0 || own + value > made_of.shared) return wrong(INVALID_VALUE, "more shared memory than a block can have");
    return of->dynamic = value, SUCCESS;
}

API int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz,
                       unsigned shared, void *stream, void **parameters, void **extra) {
    BEGIN
    auto *of = (Function *)function;
    log("launch %s on device %d: %u blocks of %u, %u bytes", of->name.c_str(), of->module->device, x, threads, shared);
    if (here() != of->module->device) return wrong(INVALID_CONTEXT, "a launch in another context");
    if (!streams(stream, of->module->device)) return wrong(INVALID_HANDLE, "a launch on a stream that is not the device's");
    if (x < 1 || x > 2147483647u || y != 1 || z != 1) return wrong(INVALID_VALUE, "no grid");
    if (threads < 1 || threads > 1024 || threads % 32 || ty != 1 || tz != 1) return wrong(INVALID_VALUE, "no block");
    if (shared > of->dynamic) return wrong(INVALID_VALUE, "shared memory that was not asked for");
    if (!parameters || extra) return wrong(INVALID_VALUE, "parameters of a launch");
    if (!of->kernel) return SUCCESS;
    if (threads > of->kernel->threads) return wrong(OUT_OF_RESOURCES, "more threads than the kernel was compiled for");
    // A copy, as the driver makes: the caller's may be gone when the kernel runs.
    std::vector<uint64_t> copy(of->kernel->parameter / 8);
    memcpy(copy.data(), parameters[0], of->kernel->parameter);
    ((Run)dlsym(of->module->library, "run_kernel"))(of->kernel, copy.data(), x, threads, shared);
    return SUCCESS;
}

API int cuMemPoolCreate(void **pool, const Properties *properties) {
    BEGIN
    for (uint64_t word : properties->rest)
        if (word) return wrong(INVALID_VALUE, "properties of a pool that are not zeros");
    const bool right = properties->type == 1 && properties->handles == 0 && properties->location == 1;
    if (!right || properties->device < 0 || properties->device >= DEVICES) return wrong(INVALID_VALUE, "a pool");
    log("pool of device %d", properties->device);
    return *pool = new Pool{properties->device}, SUCCESS;
}

API int cuMemPoolSetAttribute(void *pool, int which, void *value) {
    BEGIN
    if (!pool || which != 4 || *(uint64_t *)value != UINT64_MAX) return wrong(INVALID_VALUE, "an attribute of a pool");
    return SUCCESS;
}

API int cuMemAllocFromPoolAsync(uint64_t *place, size_t bytes, void *pool, void *stream) {
    BEGIN
    const int device = ((Pool *)pool)->device;
    if (bytes == 0) return wrong(INVALID_VALUE, "no bytes from a pool");
    if (here() != device || !streams(stream, device)) return wrong(INVALID_CONTEXT, "a pool on a stream of another device");
    void *taken = malloc(bytes);
    if (!taken) return OUT_OF_MEMORY;
    // No number, so that a kernel which reads what none has written is found out.
    memset(taken, 0xff, bytes);
    memory[taken] = {(Pool *)pool, stream, bytes};
    log("take %zu bytes of device %d", bytes, device);
    return *place = (uint64_t)taken, SUCCESS;
}

API int cuMemFreeAsync(uint64_t place, void *stream) {
    BEGIN
    const auto found = memory.find((void *)place);
    if (found == memory.end()) return wrong(INVALID_VALUE, "memory given back that was not taken");
    if (found->second.stream != stream || here() < 0) return wrong(INVALID_VALUE, "memory given back on another stream");
    log("give back %zu bytes", found->second.bytes);
    memset(found->first, 0xff, found->second.bytes);
    free(found->first);
    return memory.erase(found), SUCCESS;
}

// What has not been given back when the process ends.
__attribute__((destructor)) static void end() {
    for (const auto &[place, taken] : memory) log("wrong: %zu bytes were not given back", taken.bytes);
    log("end");
}
