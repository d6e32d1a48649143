# %% [markdown]
# # Denoise a photograph
#
# Non-local means (Buades, Coll and Morel, 2005) replaces each pixel by a weighted mean of the
# pixels around it. The more similar the patches around two pixels are, the larger the weight.
# That is neighborhood attention: queries and keys are patches, and values are pixels. It needs no
# training, and you can see the result, so it is a good first use of `na2d`.
#
# This tutorial needs matplotlib and scikit-image, which contains the photograph.

# %%
import matplotlib.pyplot as plt
import skimage.data
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio

from natten_mps import na2d, viz

torch.manual_seed(0)
clean = torch.from_numpy(skimage.data.chelsea()).float() / 255  # [height, width, 3]
noise = 0.1
noisy = clean + noise * torch.randn_like(clean)
print(clean.shape)

# %% [markdown]
# ## Patches as queries and keys
#
# The weight of pixel j for pixel i is exp(-|Pi - Pj|² / h²), where Pi is the 3 x 3 patch around
# pixel i. Since |Pi|² is the same for all j, the softmax drops it. What remains is a product of a
# query and a key:
#
# ```text
# 2 Pi . Pj / h² - |Pj|² / h²  =  (√2 Pi / h, 1) . (√2 Pj / h, -|Pj|² / h²)
# ```


# %%
def patches(image, size=3):
    """The patch around each pixel: [1, height, width, heads = 1, 3 * size * size]."""
    height, width, _ = image.shape
    planes = F.pad(image.permute(2, 0, 1)[None], (size // 2,) * 4, mode="reflect")
    return F.unfold(planes, size).transpose(1, 2).reshape(1, height, width, 1, -1)


patch = patches(noisy)
h2 = 0.8 * noise**2 * patch.shape[-1]
scaled = patch * (2 / h2) ** 0.5
query = torch.cat([scaled, torch.ones_like(scaled[..., :1])], dim=-1)
key = torch.cat([scaled, -patch.square().sum(-1, keepdim=True) / h2], dim=-1)
value = noisy[None, :, :, None, :]
print(query.shape, value.shape)

# %% [markdown]
# ## One call
#
# The window is 21 x 21 pixels. Queries and keys have 28 channels and values have 3; these numbers
# may differ. The scale is 1, because the products are already scaled.

# %%
denoised = na2d(query, key, value, kernel_size=21, scale=1.0)[0, :, :, 0, :]


def psnr(picture):
    """Peak signal-to-noise ratio in dB; more is better."""
    picture = picture.clamp(0, 1).numpy()
    return peak_signal_noise_ratio(clean.numpy(), picture, data_range=1)


before, after = psnr(noisy), psnr(denoised)
assert after > before + 5
print(f"{before:.1f} dB with noise, {after:.1f} dB denoised")

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
titles = ("photograph", f"with noise, {before:.1f} dB", f"denoised, {after:.1f} dB")
pictures = (clean, noisy, denoised)
for axis, picture, title in zip(axes, pictures, titles, strict=True):
    axis.imshow(picture.clamp(0, 1))
    axis.set_title(title)
    axis.axis("off")

# %% [markdown]
# ## What one pixel attends to
#
# `viz.attention_map` computes the weights of one query. Here the image is smaller, so that the
# window covers half of it:

# %%
position = (28, 50)
small = F.interpolate(clean.permute(2, 0, 1)[None], size=(80, 120), mode="area")[0]
patch = patches(small.permute(1, 2, 0))[0]
h2 = 0.02 * patch.shape[-1]
scaled = patch * (2 / h2) ** 0.5
query = torch.cat([scaled, torch.ones_like(scaled[..., :1])], dim=-1)
key = torch.cat([scaled, -patch.square().sum(-1, keepdim=True) / h2], dim=-1)
weights = viz.attention_map(query, key, position, kernel_size=41, scale=1.0)
viz.attention_over_image(clean.numpy(), weights, position)

# %% [markdown]
# Next: [train a NAT on digits](digits.html), or read about
# [windows, masks and strides](../windows.html).
