// SPDX-License-Identifier: Apache-2.0
// NVIDIA GPUs, by their driver's management library.
//
// Where the rules come from:
// - NVML API Reference, "Device Queries": nvmlDeviceGetTotalEnergyConsumption counts the
//   millijoules of the GPU since the driver was loaded (Volta or newer); nvmlDeviceGetPowerUsage is
//   the power of GPU and its circuitry (memory) in milliwatts, averaged over one second on Ampere
//   (except GA100) and newer, so it is taken to be a second old everywhere.
// - "Part-time Power Measurements: nvidia-smi's Lack of Attention", arXiv 2312.02741: readings are
//   renewed every 20 to 100 ms, and some GPUs (A100, H100) look at a quarter of the time only.
//
// The number is that of the whole board: with MIG, of all its instances.
#ifndef FORALL_LATENCY_SENSOR_NVML_SENSOR_H_
#define FORALL_LATENCY_SENSOR_NVML_SENSOR_H_

#include "latency/sensor/nvml.h"
#include "latency/sensor/power_sensor.h"

namespace forall {

// Adds a sensor per GPU, "gpu-N" in NVML's order (that of the PCI bus, which CUDA's is with
// CUDA_DEVICE_ORDER=PCI_BUS_ID): its energy counter, or its power where it has none.
void DiscoverNvml(const NvmlApi& api, PowerSensors* sensors);

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_NVML_SENSOR_H_
