"""The discriminators of the photo model: what they learn, and what they say of its poker faces."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pfvit.model.movement import identity_grid
from pfvit.model.photo import PhotoDiscriminator
from pfvit.training.movement_losses import mouth_crops
from pfvit.training.optim import DISCRIMINATOR_BETAS, descend, set_lr
from pfvit.training.photo_data import Views


class PhotoDiscriminators:
    """Two discriminators, of the whole face and of the mouth, and their optimizer."""

    def __init__(self, widths: tuple[int, int, int, int], device: torch.device, autocast: Callable[[], torch.autocast]):
        first, second, third, last = widths
        mouth = first, second, third * 3 // 4, last * 2 // 3  # fewer channels where the picture is smallest
        self.discriminators = nn.ModuleList([PhotoDiscriminator(widths), PhotoDiscriminator(mouth)]).to(device)
        self.optimizer = torch.optim.AdamW(
            self.discriminators.parameters(), betas=DISCRIMINATOR_BETAS, weight_decay=1e-4
        )
        self.device, self.autocast = device, autocast

    def learn(self, real: Views, views: Views, poker: Tensor, lr: float, generator: torch.Generator) -> Tensor:
        """Take a step and return the loss.

        `real` are neutral faces like the expressive ones, `poker` [count, 3, 112, 112] what was made of the first faces
        of `views`.
        """
        count, q = len(poker), views.q[: len(poker)]
        faces = [disturbed(one, generator, holes=True) for one in (real.face, poker, views.face[:count])]
        mouths = [
            disturbed(mouth_crops(one, points), generator)
            for one, points in ((real.face, real.q), (poker, q), (views.face[:count], q))
        ]
        loss = torch.zeros((), device=self.device)
        for judge, (truth, fake, smile) in zip(self.discriminators, (faces, mouths), strict=True):
            with self.autocast():
                patches, whole, neutral = judge(torch.cat([truth, fake, smile]))
            for score in (patches, whole):
                loss = loss + F.relu(1 - score[:count]).mean() + F.relu(1 + score[count : 2 * count]).mean()
            loss = loss + F.softplus(-neutral[:count]).mean() + F.softplus(neutral[2 * count :]).mean()
        set_lr(self.optimizer, lr)
        descend(self.optimizer, loss)
        return loss.detach()

    def judge(self, poker: Tensor, q: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the generator's loss terms for poker faces [count, 3, 112, 112] with mesh points [count, 478, 2]."""
        self.discriminators.requires_grad_(False)
        with self.autocast():
            face = self.discriminators[0](disturbed(poker, generator, holes=True))
            mouth = self.discriminators[1](disturbed(mouth_crops(poker, q), generator))
        self.discriminators.requires_grad_(True)
        return {
            "realism": -(face.patch_realism.mean() + face.realism.mean()),
            "mouth_realism": -(mouth.patch_realism.mean() + mouth.realism.mean()),
            "neutral": F.softplus(-face.neutral_logit).mean() + F.softplus(-mouth.neutral_logit).mean(),
        }


def disturbed(face: Tensor, generator: torch.Generator, holes: bool = False) -> Tensor:
    """Disturb real and made faces alike before they are judged (DiffAugment, Zhao et al., arXiv 2006.10738)."""
    batch, device = len(face), face.device

    def draw(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator).to(device)

    face = face + (draw(1, 1, 1) - 0.5) * 0.4
    mean = face.mean(1, keepdim=True)
    face = (face - mean) * (0.5 + draw(1, 1, 1)) + mean
    mean = face.mean((1, 2, 3), keepdim=True)
    face = (face - mean) * (0.7 + 0.6 * draw(1, 1, 1)) + mean
    shift = torch.zeros(batch, 2, 3, device=device)
    shift[:, 0, 0] = torch.where(draw() < 0.5, -1.0, 1.0)
    shift[:, 1, 1] = 1.0
    shift[:, :, 2] = (draw(2) - 0.5) * 0.2
    grid = F.affine_grid(shift, list(face.shape), align_corners=False)
    face = F.grid_sample(face, grid, padding_mode="reflection", align_corners=False)
    if holes:
        away = (identity_grid(face.shape[-1], device) - (draw(1, 1, 2) * 2 - 1)).abs().amax(3)[:, None]
        face = torch.where((away < 0.25) & (draw(1, 1, 1) < 0.3), torch.zeros(1, device=device), face)
    return face
