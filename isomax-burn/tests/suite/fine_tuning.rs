//! Prototypes at class means, and learning rates of their own for parts of a network.

use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, GradientsParams, MultiGradientsParams, Optimizer, Sgd, SgdConfig};
use burn::prelude::{Backend, DeviceOps};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, Tolerance};
use isomax_burn::optim::ParameterGroups;
use isomax_burn::{ClassMeans, HeadKind, IsoMaxPlusHeadConfig, OodHead, PrototypeError};

fn means_are_those_of_the_classes<B: AutodiffBackend>() {
    let device = Default::default();
    let features = |rows: [[f32; 2]; 2]| Tensor::<B, 2>::from_floats(rows, &device);
    let targets = |labels: [i32; 2]| Tensor::<B, 1, Int>::from_ints(labels, &device);
    for (head, expected) in [
        (HeadKind::IsoMax, [[3.0, 4.0], [1.0, 0.0]]),
        (HeadKind::IsoMaxPlus, [[0.6, 0.8], [0.5, 0.0]]),
        (HeadKind::DisMax, [[0.6, 0.8], [0.5, 0.0]]),
    ] {
        let mut means = ClassMeans::new(head, 2);
        assert_eq!(
            means.prototypes::<B>(&device).unwrap_err(),
            PrototypeError::EmptyClass { class: 0 }
        );
        means.update(features([[3.0, 4.0], [2.0, 0.0]]), targets([0, 1])).unwrap();
        // A feature of zeros has no direction, and counts all the same.
        means.update(features([[3.0, 4.0], [0.0, 0.0]]), targets([0, 1])).unwrap();
        let label = means.update(features([[1.0; 2]; 2]), targets([0, 2])).unwrap_err();
        assert_eq!(label, PrototypeError::Label { num_classes: 2, found: 2 });
        let infinite = means.update(features([[1.0, f32::NAN]; 2]), targets([0, 1])).unwrap_err();
        assert_eq!(infinite, PrototypeError::NotFinite);
        let wide = Tensor::<B, 2>::ones([2, 3], &device);
        let shape = means.update(wide, targets([0, 1])).unwrap_err();
        assert_eq!(shape, PrototypeError::Shape { expected: [2, 2], found: [2, 3] });

        let found = means.prototypes::<B>(&device).unwrap().into_data();
        let expected = Tensor::<B, 2>::from_floats(expected, &device).into_data();
        found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
        if head == HeadKind::IsoMaxPlus {
            let head = IsoMaxPlusHeadConfig::new(2, 2).init::<B>(&device);
            let id = head.prototypes.id;
            let head = head.with_prototypes(means.prototypes(&device).unwrap()).unwrap();
            assert!(head.prototypes.id == id && head.prototypes.val().is_require_grad());
        }
    }
}

on_every_backend!(means_are_those_of_the_classes);

type B = Autodiff<Flex>;

#[derive(Module, Debug)]
struct Net<B: Backend> {
    body: Linear<B>,
    body_norm: Linear<B>,
    head: Linear<B>,
}

fn net() -> Net<B> {
    let linear = || LinearConfig::new(3, 3).init(&Default::default());
    let net = Net { body: linear(), body_norm: linear(), head: linear() };
    // Parameters are drawn when they are first used, and by each clone for itself until then.
    gradients(&net);
    net
}

fn gradients(net: &Net<B>) -> GradientsParams {
    let inputs = Tensor::<B, 2>::ones([2, 3], &Default::default());
    let outputs = net.head.forward(net.body_norm.forward(net.body.forward(inputs)));
    GradientsParams::from_grads(outputs.powf_scalar(2.0).sum().backward(), net)
}

fn sgd() -> OptimizerAdaptor<Sgd<Flex>, Net<B>, B> {
    SgdConfig::new().with_momentum(Some(MomentumConfig::new())).init()
}

fn weights(net: &Net<B>) -> [Vec<f32>; 3] {
    [&net.body, &net.body_norm, &net.head]
        .map(|layer| layer.weight.val().into_data().iter().collect())
}

/// What plain optimizers make of each part at its own rate.
#[test]
fn each_group_has_its_share_of_the_rate() {
    let (mut plain, mut grouped) = (net(), None);
    let start = plain.clone();
    let mut groups = ParameterGroups::new(sgd())
        .with_share("", 0.5)
        .with_share("body", 0.1)
        .with_share("head", 1.0);
    let mut optimizers = [sgd(), sgd(), sgd()];
    for _ in 0..3 {
        let net = grouped.take().unwrap_or_else(|| start.clone());
        let of_groups = gradients(&net);
        grouped = Some(groups.step(0.2, net, of_groups));
        // The three parts of one network, each by an optimizer of its own.
        let parts = [0.02, 0.1, 0.2]
            .into_iter()
            .zip(&mut optimizers)
            .map(|(rate, optimizer)| optimizer.step(rate, plain.clone(), gradients(&plain)));
        let parts: Vec<Net<B>> = parts.collect();
        plain = Net {
            body: parts[0].body.clone(),
            body_norm: parts[1].body_norm.clone(),
            head: parts[2].head.clone(),
        };
    }
    assert_eq!(weights(&grouped.unwrap()), weights(&plain));
}

#[test]
fn gradients_of_devices_are_grouped_alike() {
    let net = net();
    let device = burn::tensor::Device::<B>::default();
    let groups = || ParameterGroups::new(sgd()).with_share("body", 0.0);
    let one = groups().step(0.1, net.clone(), gradients(&net));
    let mut of_devices = MultiGradientsParams::default();
    of_devices.grads.push((gradients(&net), device.to_id()));
    let several = groups().step_multi(0.1, net.clone(), of_devices);
    assert_eq!(weights(&one), weights(&several));
    assert_eq!(weights(&one)[0], weights(&net)[0]);
    assert_ne!(weights(&one)[1], weights(&net)[1], "'body_norm' is not below 'body'");
}

#[test]
fn records_are_those_of_the_optimizer() {
    let start = net();
    let optimizer = || AdamWConfig::new().init::<B, Net<B>>();
    let groups = || ParameterGroups::new(optimizer()).with_share("body", 0.5);
    let mut first = groups();
    let net = first.step(0.1, start.clone(), gradients(&start));
    let record = first.to_record();
    let going_on = first.step(0.1, net.clone(), gradients(&net));
    let resumed = groups().load_record(record).step(0.1, net.clone(), gradients(&net));
    assert_eq!(weights(&going_on), weights(&resumed));
    assert_ne!(weights(&net), weights(&going_on));
}
