"""Which of the node's own accounts does what, and giving them what they need."""

from ouro.testnet.abi import call_data
from ouro.testnet.client import Client
from ouro.testnet.deploy import deploy_executor
from ouro.testnet.deployment import Deployment, Token
from ouro.testnet.sender import Sender
from ouro.types import Address

TRADERS_PER_VENUE = 3
BACKGROUND = 19
FIRST_RIVAL = 20
TRADER_TOKENS_WEI = 2**112
TRADER_WRAPPED_WEI = 2**95
PURSE_TOKENS_WEI = 2**118
PURSE_WRAPPED_WEI = 2**99
PURSE_NATIVE_WEI = 2**99
_SHARE_PARTS = 64
_PURSE_PARTS = 8
_MAX_UINT256 = 2**256 - 1


def trader_accounts(client: Client, deployment: Deployment) -> dict[str, tuple[Address, ...]]:
    """Accounts of the market agents by venue name; account 0 is the deployer's."""
    accounts = [account.lower() for account in client.call("eth_accounts")]
    return {
        venue.name: tuple(accounts[1 + k * TRADERS_PER_VENUE : 1 + (k + 1) * TRADERS_PER_VENUE])
        for k, venue in enumerate(deployment.venues)
    }


def background_account(client: Client) -> Address:
    """The account of the background load; its native coin is all it needs."""
    return client.call("eth_accounts")[BACKGROUND].lower()


def fund_traders(client: Client, deployment: Deployment) -> None:
    """Give every trader every token and let its venue's router spend them; a purse of ours pays by itself."""
    funder = Sender(client, deployment.deployer)
    traders: list[Sender] = []
    for name, accounts in trader_accounts(client, deployment).items():
        router = deployment.venue(name).router
        if deployment.venue(name).pays_itself:
            continue
        for account in accounts:
            sender = Sender(client, account)
            traders.append(sender)
            for token in deployment.tokens:
                amount = _amount(client, deployment, token, TRADER_WRAPPED_WEI, TRADER_TOKENS_WEI, 1)
                funder.send(token.address, call_data("transfer(address,uint256)", account, amount), gas=100_000)
                sender.send(token.address, call_data("approve(address,uint256)", router, _MAX_UINT256), gas=80_000)
    for sender in (funder, *traders):
        sender.mine()


def fund_purse(client: Client, deployment: Deployment) -> None:
    """Give our purse, if the chain has one, every token and the native coin: it provides liquidity and trades."""
    purses = {venue.router for venue in deployment.venues if venue.pays_itself}
    funder = Sender(client, deployment.deployer)
    for purse in purses:
        client.call("anvil_setBalance", purse, hex(PURSE_NATIVE_WEI))
        for token in deployment.tokens:
            amount = _amount(client, deployment, token, PURSE_WRAPPED_WEI, PURSE_TOKENS_WEI, _PURSE_PARTS)
            data = call_data("transfer(address,uint256)", purse, amount)
            funder.send(token.address, data, gas=100_000, what=f"{token.symbol} for the purse")
    funder.mine()


def _amount(
    client: Client, deployment: Deployment, token: Token, wrapped_wei: int, tokens_wei: int, parts: int
) -> int:
    """What an account is given; a vault's shares, of which there is no plenty, in parts of all that there are."""
    if token.asset is not None:
        return int(client.read(token.address, call_data("totalSupply()")), 16) * parts // _SHARE_PARTS
    return wrapped_wei if token.address == deployment.wrapped_native else tokens_wei


def fund_rivals(client: Client, deployment: Deployment, count: int) -> tuple[dict[str, str], ...]:
    """Accounts with executors of their own: ``{"account", "executor"}`` each."""
    accounts = [account.lower() for account in client.call("eth_accounts")]
    if count > len(accounts) - FIRST_RIVAL:
        raise ValueError(f"rivals: at most {len(accounts) - FIRST_RIVAL} are possible, {count} were asked for")
    rivals: list[dict[str, str]] = []
    for account in accounts[FIRST_RIVAL : FIRST_RIVAL + count]:
        sender = Sender(client, account)
        executor = deploy_executor(sender, account, [account])
        sender.mine()
        rivals.append({"account": account, "executor": executor})
    return tuple(rivals)
