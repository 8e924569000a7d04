/* Stands in for the library of NVIDIA's driver: made-up cards, in the layouts that its header promises.
 *
 * Compiled by the tests: OLD leaves out what drivers of 2020 do not know yet, SCENE says what the cards are like.
 */
#include <stdio.h>

enum { OK = 0, UNSUPPORTED = 3, TOO_SMALL = 7, LOST = 15, MISMATCH = 18 };
enum { PLAIN, DIVIDED, UNIFIED, FALLEN, UPDATED };
#ifndef SCENE
#define SCENE PLAIN
#endif
#define MIB (1024ull * 1024)

typedef struct { unsigned card, slice; } Handle;
static Handle handles[2][3] = {{{0, 0}, {0, 1}, {0, 2}}, {{1, 0}, {1, 1}, {1, 2}}};

int nvmlInitWithFlags(unsigned flags) { (void)flags; return SCENE == UPDATED ? MISMATCH : OK; }
int nvmlShutdown(void) { return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle **handle) { *handle = handles[index]; return OK; }

static int lost(const Handle *handle) { return SCENE == FALLEN && handle->card == 1; }

int nvmlDeviceGetName(Handle *handle, char *text, unsigned length)
{
    snprintf(text, length, "NVIDIA Test %u", handle->card);
    return OK;
}

int nvmlDeviceGetUUID(Handle *handle, char *text, unsigned length)
{
    snprintf(text, length, "%s-%u-%u", handle->slice ? "MIG" : "GPU", handle->card, handle->slice);
    return OK;
}

int nvmlDeviceGetUtilizationRates(Handle *handle, unsigned rates[2])
{
    if (lost(handle)) return LOST;
    if (SCENE == DIVIDED) return UNSUPPORTED;
    rates[0] = 87 - handle->card;
    rates[1] = 40;
    return OK;
}

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;

int nvmlDeviceGetMemoryInfo(Handle *handle, Memory *memory)
{
    if (lost(handle)) return LOST;
    if (SCENE == UNIFIED) return UNSUPPORTED;
    *memory = (Memory){80 * MIB, 59 * MIB, 21 * MIB};
    return OK;
}

#ifndef OLD
int nvmlDeviceGetMemoryInfo_v2(Handle *handle, MemoryV2 *memory)
{
    if (lost(handle)) return LOST;
    if (SCENE == UNIFIED) return UNSUPPORTED;
    unsigned long long whole = handle->slice ? 10 * MIB : 80 * MIB;
    *memory = (MemoryV2){memory->version, whole, MIB, whole - 8 * MIB, 7 * MIB};
    return OK;
}

int nvmlDeviceGetCurrentClocksEventReasons(Handle *handle, unsigned long long *mask)
{
    *mask = 0x4 | 0x1;
    return lost(handle) ? LOST : OK;
}

typedef struct { unsigned version; int sensor, value; } Temperature;
int nvmlDeviceGetTemperatureV(Handle *handle, Temperature *heat) { heat->value = 61; return lost(handle) ? LOST : OK; }
#else
int nvmlDeviceGetCurrentClocksThrottleReasons(Handle *handle, unsigned long long *mask)
{
    (void)handle;
    *mask = 0x20;
    return OK;
}

int nvmlDeviceGetTemperature(Handle *handle, int sensor, unsigned *value) { (void)handle; (void)sensor; *value = 55; return OK; }
#endif

int nvmlDeviceGetPowerUsage(Handle *handle, unsigned *milliwatts) { *milliwatts = 310500; return lost(handle) ? LOST : OK; }
int nvmlDeviceGetEnforcedPowerLimit(Handle *handle, unsigned *milliwatts) { (void)handle; *milliwatts = 700000; return OK; }
int nvmlDeviceGetClockInfo(Handle *handle, int kind, unsigned *mhz) { (void)handle; *mhz = kind == 1 ? 1980 : 1; return OK; }
int nvmlDeviceGetMaxClockInfo(Handle *handle, int kind, unsigned *mhz) { (void)handle; *mhz = kind == 1 ? 2010 : 1; return OK; }
int nvmlDeviceGetFanSpeed(Handle *handle, unsigned *percent) { (void)handle; (void)percent; return UNSUPPORTED; }
int nvmlDeviceGetPerformanceState(Handle *handle, int *state) { (void)handle; *state = 2; return OK; }
int nvmlDeviceGetPcieThroughput(Handle *handle, int direction, unsigned *kilobytes) { (void)handle; *kilobytes = direction ? 5000 : 70; return OK; }
int nvmlDeviceGetTotalEccErrors(Handle *handle, int kind, int since, unsigned long long *count)
{
    (void)handle;
    *count = kind == 1 && since == 0 ? 3 : 900;
    return OK;
}
int nvmlDeviceGetTotalEnergyConsumption(Handle *handle, unsigned long long *millijoules) { (void)handle; *millijoules = 5000000; return OK; }

typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } Process;

static int processes(unsigned *room, Process *found, unsigned first)
{
    if (!found) { *room = 2; return TOO_SMALL; }
    found[0] = (Process){first, 5 * MIB, ~0u, ~0u};
    found[1] = (Process){first + 1, ~0ull, ~0u, ~0u};
    *room = 2;
    return OK;
}

#ifndef OLD
int nvmlDeviceGetComputeRunningProcesses_v3(Handle *handle, unsigned *room, Process *found)
{
    return lost(handle) ? LOST : processes(room, found, 10 + 100 * handle->slice);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(Handle *handle, unsigned *room, Process *found) { (void)handle; (void)room; (void)found; return UNSUPPORTED; }
int nvmlDeviceGetMPSComputeRunningProcesses_v3(Handle *handle, unsigned *room, Process *found) { (void)handle; return processes(room, found, 11); }
#else
int nvmlDeviceGetComputeRunningProcesses_v2(Handle *handle, unsigned *room, Process *found) { (void)handle; return processes(room, found, 10); }
#endif

typedef struct { unsigned pid; unsigned long long at; unsigned sm, memory, encoder, decoder; } Share;

int nvmlDeviceGetProcessUtilization(Handle *handle, Share *found, unsigned *room, unsigned long long since)
{
    (void)handle;
    if (!found) { *room = 1; return TOO_SMALL; }
    found[0] = (Share){10, since, 63, 5, 0, 0};
    return OK;
}

int nvmlDeviceGetMigMode(Handle *handle, unsigned *now, unsigned *next) { (void)handle; *now = *next = SCENE == DIVIDED; return OK; }
int nvmlDeviceGetMaxMigDeviceCount(Handle *handle, unsigned *count) { (void)handle; *count = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(Handle *handle, unsigned index, Handle **part)
{
    if (index > 1) return 6;
    *part = &handles[handle->card][index + 1];
    return OK;
}
