#![allow(missing_docs, clippy::unwrap_used)]
use burn::backend::{Autodiff, NdArray};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_store::{ModuleSnapshot, PytorchStore};
use isomax_burn::{HeadKind, LossConfig};
use isomax_models::*;
type B = Autodiff<NdArray<f64>>;
struct C;
impl<B: burn::tensor::backend::Backend> ModuleMapper<B> for C {
    fn map_float<const D: usize>(&mut self, p: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let id = p.id;
        let rg = p.is_require_grad();
        let t = Tensor::from_data(
            p.val().into_data().convert_dtype(DType::F64),
            (&p.val().device(), DType::F64),
        );
        Param::initialized(id, if rg { t.require_grad() } else { t })
    }
}
#[test]
fn f64_run() {
    for (name, arch) in
        [("resnet110_isomaxplus", "resnet-110"), ("densenetbc100_isomaxplus", "densenet-bc-100")]
    {
        let g: serde_json::Value = serde_json::from_str(
            &std::fs::read_to_string(format!("/work/shared/golden/{name}.json")).unwrap(),
        )
        .unwrap();
        let f = |k: &str| {
            g[k].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>()
        };
        let device = Default::default();
        let mut model = ModelConfig::new(arch.parse().unwrap(), 10)
            .with_head(HeadKind::IsoMaxPlus)
            .init::<B>(&device);
        let mut store = PytorchStore::from_file(format!("/work/shared/golden/{name}.pth"))
            .allow_partial(true)
            .validate(false);
        model.load_from(&mut store).unwrap();
        let mut model = model.map(&mut C);
        let t = f("targets");
        let n = t.len();
        let images = Tensor::<B, 4>::from_data(
            TensorData::new(f("input"), [n, 3, 32, 32]),
            (&device, DType::F64),
        );
        let targets = Tensor::<B, 1, Int>::from_ints(
            t.iter().map(|v| *v as i32).collect::<Vec<_>>().as_slice(),
            &device,
        );
        let m = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0).with_nesterov(true);
        let mut o = SgdConfig::new()
            .with_momentum(Some(m))
            .with_weight_decay(Some(WeightDecayConfig::new(1e-4)))
            .init();
        let loss = LossConfig::new(HeadKind::IsoMaxPlus).init();
        for s in 0..4 {
            let l = loss.forward(model.forward(images.clone()), targets.clone());
            let gr = GradientsParams::from_grads(l.backward(), &model);
            let v: f64 = l.into_data().iter::<f64>().next().unwrap();
            println!("{name} {s} {v} {}", v / f("train_losses")[s] - 1.0);
            model = o.step(0.1, model, gr);
        }
        let bn = match &model {
            Model::DenseNetBc(n) => &n.block1.layer[0].bn1,
            Model::CifarResNet(n) => &n.bn1,
            _ => panic!(),
        };
        let v: Vec<f64> = bn.running_var.value_sync().into_data().iter::<f64>().collect();
        let e = f("bn1_running_var_after");
        let mx = e.iter().fold(0.0f64, |m, x| m.max(*x));
        println!(
            "{name} var {} dtype {:?}",
            v.iter().zip(&e).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / mx,
            bn.running_var.value_sync().dtype()
        );
    }
}
