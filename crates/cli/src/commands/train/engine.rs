//! What are dictionaries stepped by: the CPU's sparse steps, or tensors on a GPU?

use super::{ProductType, TrainArgs};
use crate::context::Context;
use crate::device::DeviceChoice;
use crate::exit::Complaint;
use untangle_train::EngineKind;

impl TrainArgs {
    /// What the dictionaries are stepped by. Must run before the first tensor call.
    pub(super) fn engine(&self, context: &Context) -> anyhow::Result<EngineKind> {
        self.check_dtype()?;
        let device = match self.machine.device {
            DeviceChoice::Cuda(_) => context.device(self.machine.device),
            DeviceChoice::Auto | DeviceChoice::Cpu => tch::Device::Cpu,
        };
        Ok(self.engine_on(device))
    }

    /// The engine where a model that was asked for lies on `device`.
    pub(crate) fn engine_on(&self, device: tch::Device) -> EngineKind {
        match (self.machine.device, device) {
            (DeviceChoice::Cuda(_), tch::Device::Cuda(_)) => EngineKind::Tensors(device),
            _ => EngineKind::Native,
        }
    }

    /// Refuses an arithmetic that CUDA steps do not have.
    pub(crate) fn check_dtype(&self) -> anyhow::Result<()> {
        match (self.machine.device, self.machine.dtype) {
            (DeviceChoice::Cuda(_), ProductType::Bf16 | ProductType::Int8) => {
                Err(Complaint::usage("--dtype bf16 and int8 are of the CPU; --device cuda trains in f32"))
            }
            _ => Ok(()),
        }
    }
}
