/// \file
/// Tables of polynomials for functions of the form y/2 + |y| * half(|y|): see by_halves() in
/// vmath.h.
///
/// Each approximates half(x) for x = (n + f) * bound / 15, n = 0..15 and |f| <= 1/2, by polynomials
/// in f: row i holds the factors of f^i, column n those of one polynomial. They are our own minimax
/// fits (see vmath.h) for the absolute error; half() is 0 at 0 and 1/2 at the bound.
#pragma once

namespace ipex_quant::kernels {
namespace {

/// erf(x / sqrt 2) / 2 up to 5.5: 2e-8 at most.
alignas(64) constexpr float kHalfErf[6][16] = {
    {0, 0x1.24ffdep-3f, 0x1.12c31cp-2f, 0x1.7513f4p-2f, 0x1.b70e98p-2f, 0x1.ddd28cp-2f,
     0x1.f1c34cp-2f, 0x1.fabe22p-2f, 0x1.fe4876p-2f, 0x1.ff8146p-2f, 0x1.ffdfcap-2f, 0x1.fff8cap-2f,
     0x1.fffe94p-2f, 0x1.ffffc2p-2f, 0x1.fffff6p-2f, 0x1p-1f},
    {0x1.2b943ap-3f, 0x1.181a46p-3f, 0x1.c9e4bcp-4f, 0x1.472f58p-4f, 0x1.98c16cp-5f, 0x1.be6c04p-6f,
     0x1.aa399ap-7f, 0x1.63bfc6p-8f, 0x1.0392dp-9f, 0x1.4b2526p-11f, 0x1.714eb6p-13f,
     0x1.680e3ep-15f, 0x1.32e04ap-17f, 0x1.c94c26p-20f, 0x1.29ddp-22f, 0x1.039a6ap-19f},
    {0x1.321e16p-25f, -0x1.2d4236p-7f, -0x1.ec7b32p-7f, -0x1.07ed56p-6f, -0x1.b7a4p-7f,
     -0x1.2c193ap-7f, -0x1.57d3d6p-8f, -0x1.4ecdcap-9f, -0x1.172f2cp-10f, -0x1.90ab0ep-12f,
     -0x1.f0759ap-14f, -0x1.0a2f82p-15f, -0x1.eeeb4cp-18f, -0x1.8f686p-20f, -0x1.181862p-22f,
     0x1.fbb5b4p-16f},
    {-0x1.ada886p-9f, -0x1.5bad62p-9f, -0x1.2f866p-10f, 0x1.8a139p-12f, 0x1.515f34p-10f,
     0x1.79e54ap-10f, 0x1.256604p-10f, 0x1.64592ep-11f, 0x1.61d97p-12f, 0x1.258a32p-13f,
     0x1.9be7dap-15f, 0x1.eca94ep-17f, 0x1.f8e238p-19f, 0x1.bcfa64p-21f, 0x1.52345ep-23f,
     0x1.63d9bap-13f},
    {0x1.212a9ep-20f, 0x1.33097ep-12f, 0x1.afd12ep-12f, 0x1.515dc6p-12f, 0x1.0c95c8p-13f,
     -0x1.2c48ecp-15f, -0x1.c17ebep-14f, -0x1.ad223ap-14f, -0x1.18ba1p-14f, -0x1.1cd6cap-15f,
     -0x1.d56212p-17f, -0x1.414f44p-18f, -0x1.725612p-20f, -0x1.6a675ep-22f, -0x1.2eda8p-24f,
     0x1.96918ep-12f},
    {0x1.0f1a3ep-14f, 0x1.7ba002p-15f, 0x1.3eab2ep-20f, -0x1.171992p-15f, -0x1.4a9b9p-15f,
     -0x1.93a15ep-16f, -0x1.5f1c04p-18f, 0x1.71c2fep-18f, 0x1.f96e7ap-18f, 0x1.67024p-18f,
     0x1.70c138p-19f, 0x1.2a0344p-20f, 0x1.88ee2cp-22f, 0x1.aede8cp-24f, 0x1.8d9a02p-26f,
     0x1.453fbp-12f},
};

/// tanh(sqrt(2/pi) * (x + 0.044715 x^3)) / 2 up to 5.5: 2e-8 at most.
alignas(64) constexpr float kHalfTanh[6][16] = {
    {0, 0x1.24f822p-3f, 0x1.12ac28p-2f, 0x1.74e79p-2f, 0x1.b6e672p-2f, 0x1.ddccb8p-2f, 0x1.f1e3p-2f,
     0x1.faecfcp-2f, 0x1.fe6f4cp-2f, 0x1.ff97d6p-2f, 0x1.ffe9ap-2f, 0x1.fffc1cp-2f, 0x1.ffff76p-2f,
     0x1.fffff2p-2f, 0x1.fffffep-2f, 0x1p-1f},
    {0x1.2b943cp-3f, 0x1.18048ap-3f, 0x1.c98118p-4f, 0x1.46fd88p-4f, 0x1.997004p-5f, 0x1.c10614p-6f,
     0x1.add094p-7f, 0x1.642adap-8f, 0x1.f84ea8p-10f, 0x1.2bd676p-11f, 0x1.259572p-13f,
     0x1.cf9c68p-16f, 0x1.20f888p-18f, 0x1.16653ep-21f, 0x1.95e1c2p-25f, 0x1.dc9832p-24f},
    {0x1.40792p-25f, -0x1.2e644cp-7f, -0x1.ecbb86p-7f, -0x1.070c66p-6f, -0x1.b58f9ep-7f,
     -0x1.2bea4cp-7f, -0x1.5af212p-8f, -0x1.54f03cp-9f, -0x1.1b163cp-10f, -0x1.87d0fep-12f,
     -0x1.bbad2ap-14f, -0x1.92939cp-16f, -0x1.1e8438p-18f, -0x1.3925bcp-21f, -0x1.014ddcp-24f,
     0x1.cdad82p-20f},
    {-0x1.afc966p-9f, -0x1.5c0bf2p-9f, -0x1.2a8402p-10f, 0x1.9adfb2p-12f, 0x1.4e9f3ap-10f,
     0x1.73cf98p-10f, 0x1.22fc04p-10f, 0x1.688d74p-11f, 0x1.6d22b2p-12f, 0x1.2e8d8ap-13f,
     0x1.94fd54p-15f, 0x1.adca86p-17f, 0x1.6253ep-19f, 0x1.bca56ap-22f, 0x1.a02288p-25f,
     0x1.442bd6p-17f},
    {0x1.2ecd56p-20f, 0x1.391128p-12f, 0x1.b34fbap-12f, 0x1.4c4fb4p-12f, 0x1.feb8e6p-14f,
     -0x1.27296p-15f, -0x1.ac6b7cp-14f, -0x1.a1ed7ap-14f, -0x1.1cad58p-14f, -0x1.2b547ep-15f,
     -0x1.edbd3ap-17f, -0x1.3cd5c4p-18f, -0x1.378ac2p-20f, -0x1.cd58a8p-23f, -0x1.f9653ap-26f,
     0x1.7247f6p-16f},
    {0x1.1526b4p-14f, 0x1.7fdd96p-15f, -0x1.d61cc6p-23f, -0x1.225c82p-15f, -0x1.43ca12p-15f,
     -0x1.7a7742p-16f, -0x1.57153ap-18f, 0x1.3a4cf4p-18f, 0x1.d9bcc4p-18f, 0x1.6e067cp-18f,
     0x1.8e802cp-19f, 0x1.4105fp-20f, 0x1.7ffa92p-22f, 0x1.520da4p-24f, 0x1.b0ae5p-27f,
     0x1.284b2ep-16f},
};

/// sigmoid(x) - 1/2 = tanh(x / 2) / 2 up to 18: 5e-8 at most.
alignas(64) constexpr float kHalfSigmoid[7][16] = {
    {0, 0x1.12f82ap-2f, 0x1.aad4c6p-2f, 0x1.e4c3c2p-2f, 0x1.f7a43cp-2f, 0x1.fd77d2p-2f,
     0x1.ff3c6ep-2f, 0x1.ffc51p-2f, 0x1.ffee4p-2f, 0x1.fffaa8p-2f, 0x1.fffe64p-2f, 0x1.ffff84p-2f,
     0x1.ffffdap-2f, 0x1.fffff4p-2f, 0x1.fffffcp-2f, 0x1p-1f},
    {0x1.333338p-2f, 0x1.b531dep-3f, 0x1.76cee6p-4f, 0x1.fd026ep-6f, 0x1.3e5872p-7f, 0x1.83f2dap-9f,
     0x1.d502d4p-11f, 0x1.1ad258p-12f, 0x1.54d814p-14f, 0x1.9aae0ep-16f, 0x1.eecabp-18f,
     0x1.2a0f34p-19f, 0x1.671892p-21f, 0x1.b0a18p-23f, 0x1.049ca4p-24f, 0x1.28d084p-19f},
    {-0x1.7381bep-19f, -0x1.19c0f8p-4f, -0x1.76f43p-5f, -0x1.2128ep-6f, -0x1.77c722p-8f,
     -0x1.cf3c6ap-10f, -0x1.18fc98p-11f, -0x1.533bbcp-13f, -0x1.98f51ap-15f, -0x1.eccbb6p-17f,
     -0x1.28df12p-18f, -0x1.65ab7ep-20f, -0x1.aeea26p-22f, -0x1.039412p-23f, -0x1.38bbf4p-25f,
     0x1.ad2fccp-15f},
    {-0x1.269c28p-5f, -0x1.c74b22p-9f, 0x1.86797ap-7f, 0x1.9cd386p-8f, 0x1.22c37ep-9f,
     0x1.6ee23cp-11f, 0x1.c02e4ap-13f, 0x1.0f1b4p-14f, 0x1.47086ap-16f, 0x1.8a2688p-18f,
     0x1.daeaep-20f, 0x1.1e1838p-21f, 0x1.58af06p-23f, 0x1.9f44aap-25f, 0x1.f44e58p-27f,
     0x1.c9e6f2p-12f},
    {-0x1.dcb3ap-13f, 0x1.32f9d4p-7f, -0x1.e784fep-12f, -0x1.7ee0cep-10f, -0x1.45bb7p-11f,
     -0x1.af858ep-13f, -0x1.0b4e6cp-14f, -0x1.44bf1ep-16f, -0x1.883b22p-18f, -0x1.d8e88p-20f,
     -0x1.1cf074p-21f, -0x1.574fd2p-23f, -0x1.9d9f64p-25f, -0x1.f2537ap-27f, -0x1.2c2fbap-28f,
     0x1.b98b34p-10f},
    {0x1.82c5fcp-8f, -0x1.da4beap-10f, -0x1.f58bc2p-11f, 0x1.41036cp-13f, 0x1.0db53cp-13f,
     0x1.921984p-15f, 0x1.011af6p-16f, 0x1.3b41aap-18f, 0x1.7dd246p-20f, 0x1.ccbd4p-22f,
     0x1.15ad2cp-23f, 0x1.4e9614p-25f, 0x1.931e86p-27f, 0x1.e5accep-29f, 0x1.2490fp-30f,
     0x1.887bd4p-9f},
    {-0x1.2bbbacp-10f, -0x1.69ff66p-11f, 0x1.908accp-12f, 0x1.28df56p-15f, -0x1.242eacp-16f,
     -0x1.25b886p-17f, -0x1.90c6a4p-19f, -0x1.f4584cp-21f, -0x1.309a7ep-22f, -0x1.7024d6p-24f,
     -0x1.bbf446p-26f, -0x1.0b8276p-27f, -0x1.425136p-29f, -0x1.84549ap-31f, -0x1.d3dafp-33f,
     0x1.05a7ep-9f},
};

}  // namespace
}  // namespace ipex_quant::kernels
