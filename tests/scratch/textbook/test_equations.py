"""Every numbered equation of a page, computed as it stands there, agrees with the numbers of the code."""

import re
from types import ModuleType

import pytest

from scratch import nn
from tests.scratch.nn import test_core_page
from tests.scratch.study import test_rtrl_equations
from tests.scratch.textbook.equations import Page, wrong_signs
from tests.scratch.textbook.test_derivations import GRU, LSTM, RNN

PAGES = [RNN, LSTM, GRU, test_core_page.PAGE, test_rtrl_equations.PAGE]
every_equation = pytest.mark.parametrize(
    ("page", "number"), [(page, number) for page in PAGES for number in page.numbered()], ids=lambda each: str(each)
)


@every_equation
def test_an_equation_gives_the_numbers_of_the_code(page: Page, number: str) -> None:
    page.check(number)


@every_equation
def test_a_wrong_sign_in_an_equation_is_found(page: Page, number: str) -> None:
    for wrong in wrong_signs(page.numbered()[number]):
        with pytest.raises(AssertionError):
            page.check(number, wrong)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_only_equations_of_the_page_are_special(page: Page) -> None:
    assert page.special.keys() <= page.numbered().keys()


@pytest.mark.parametrize(("module", "page"), [*zip((nn.rnn, nn.lstm, nn.gru, nn.bptt), PAGES, strict=False)], ids=str)
def test_the_numbers_of_the_core_are_numbers_of_the_page(module: ModuleType, page: Page) -> None:
    numbers = re.findall(r"\((T?\d)\)", module.__doc__ or "")
    assert numbers
    assert set(numbers) <= {*page.numbered(), "T3"}  # an LSTM's file speaks of its projection
